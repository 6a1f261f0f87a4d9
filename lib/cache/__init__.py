"""Remembered answers: when one may be kept, whose it is, how an equal question finds it, and how sure that is.

`recall.Recall` is asked before a call goes upstream and told when it has ended (`lib.calls.sources`). What is kept
belongs to a namespace (`namespace`), a hard partition that is part of every key. Three tiers: `exact` finds the same
request, `loose` the same significant words in the same order (`wording`), `semantic` a question that means the same:
found by its vector, refused by guards (`guards`), decided by a judge or by what a namespace has proved (`proof`).
"""
