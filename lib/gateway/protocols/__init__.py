"""The protocols that programs speak to the gateway, as pure functions: a body in, a question out; chunks in, bytes out.

Inside, there is one shape: OpenAI's chat messages and parameters. A protocol's requests are read into `Asked`, its
answers, events and errors written in its own form: both in one module, or in two where each is long.
"""
