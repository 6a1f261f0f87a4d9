"""The protocols that programs speak to the gateway, as pure functions: a body in, a question out; chunks in, bytes out.

Inside, there is one shape: OpenAI's chat messages and parameters. Each module reads its protocol's requests into
`Asked` and writes answers, events and errors in its protocol's own form.
"""
