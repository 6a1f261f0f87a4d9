"""The last message to an open page whose session has ended: go to the login page."""


def build_farewell() -> bytes:
    """A serialised Streamlit message that makes the browser navigate."""
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    message = ForwardMsg()
    message.auth_redirect.url = "/login"
    return bytes(message.SerializeToString())
