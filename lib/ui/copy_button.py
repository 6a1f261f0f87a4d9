"""A button that puts a text on the clipboard: in sight without hovering, reached by Tab, and it says when it has.

A page that is served without TLS to another machine has no `navigator.clipboard`; there the text is selected in a field
off the screen and copied from it.
"""

import streamlit as st

_HTML = """
<button type="button">
<svg viewBox="0 0 24 24" aria-hidden="true"><path class="sheets" d="M9 3h10a2 2 0 0 1 2 2v12h-2V5H9V3zM5 7h9a2 2 0 0
1 2 2v10a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2zm0 2v10h9V9H5z"/><path class="tick"
d="M9.5 18 4 12.5l1.4-1.4 4.1 4.1L18.6 6 20 7.4z"/></svg>
<span class="label"></span><span class="said" role="status"></span>
</button>
"""
_CSS = """
button { display: inline-flex; align-items: center; gap: 0.35rem; min-height: 28px; min-width: 28px; padding: 0 0.2rem;
  border: 0; border-radius: 6px; background: none; color: var(--st-text-color); font: inherit; cursor: pointer;
  white-space: nowrap; }
button:hover { color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
svg { width: 18px; height: 18px; fill: currentColor; flex: none; }
.tick, .copied .sheets { display: none; }
.copied .tick { display: block; }
.said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""
_SCRIPT = """
function copyFromField(text, near) {
  const field = document.createElement("textarea");
  field.value = text;
  field.setAttribute("readonly", "");
  field.style.position = "fixed";
  field.style.top = "-100px";
  near.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  return copied;
}

async function copy(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error) {
    return copyFromField(text, near);
  }
}

export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  const said = parentElement.querySelector(".said");
  parentElement.querySelector(".label").textContent = data.label;
  button.setAttribute("aria-label", data.help);
  button.title = data.help;
  button.onclick = async () => {
    const copied = await copy(data.text, button);
    button.focus();
    button.classList.toggle("copied", copied);
    said.textContent = copied ? "Copied" : "The browser does not let this page copy";
    button.title = copied ? "Copied" : said.textContent;
    setTimeout(() => {
      button.classList.remove("copied");
      button.title = data.help;
      said.textContent = "";
    }, 2000);
  };
}
"""


def draw_copy_button(text: str, *, key: str, help: str, label: str = "") -> None:
    """Draw the button for `text`; `help` names what is copied ("Copy the answer"), `label` stands beside the icon."""
    button = st.components.v2.component("copy_button", html=_HTML, css=_CSS, js=_SCRIPT)
    button(key=key, data={"text": text, "label": label, "help": help}, width="content", height="content")
