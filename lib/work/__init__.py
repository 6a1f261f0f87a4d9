"""Work that outlives its process: runs whose finished steps are never done again, whoever goes on with them.

A *run* is one execution of a *kind* of work: a coroutine function `async def f(run: WorkRun, payload) -> JSON`,
registered at import with `registry.register(kind, f)` in every program that may run it. `lib.work.work.Work` starts
runs and asks about them from any process; `lib.work.run.WorkRun` is what the function is given. The engine under both
is DBOS Transact, which only this room imports.

**Who runs.** The server of the pages and `python -m lib work` launch the engine; every other process only enqueues. A
process that dies is noticed within eight seconds (at once on the same machine), and its runs go on elsewhere: the
function is called again from its top, and every step that had ended returns what it had returned.

**What a function has to keep.** It is deterministic between steps: time, random numbers, look-ups and whatever may
differ when it is called again stand inside a step. Steps that run side by side take their numbers beforehand
(`slots = run.reserve([...])`, always in the same order), then `run.step(name, f, slot=slots[name])` in asyncio tasks.
A step's function returns JSON. What fails with an LLMManagerError is kept as a result too and raised again as
StepFailed. A run that is cancelled, parked or taken over raises RunStopped, a BaseException: let it pass.

**What a step costs.** `acts=True` for a step that costs money or changes something outside: its result stands in
`step_results`, in the database of the ledger, which is asked before the step runs. A row that says `started` and has
no result makes the step StepUnknown, unless it is `idempotent`. A model call goes through `run.call(step, request)`: it
is made `within` the run and the step, so its closing record writes the row in the transaction that closes the call,
and an answer that was paid for is never asked for again. Rows stand under the id of the run that is nobody's child.

**Content.** Payloads, signals and the results of plain steps are bookkeeping: ids, numbers, names; the engine's own
tables hold them as plain JSON. Content goes through `keep=True` or `acts=True`: the engine then holds a reference, and
the row is encrypted by the vault until `results.erase(run_id)`; hash and size stay.

**Waiting.** `run.wait_for(topic)` returns what `work.signal(run_id, topic, payload)` sends, also what came before.
When a run does nothing but wait for a minute it is parked: nothing of it is in memory, and the signal starts it again.
"""
