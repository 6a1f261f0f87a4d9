"""The names under which pages keep something in the session state, so that no two take one by chance.

A key ending in `ERROR` or `NOTICE` holds what the next run of the page says on top. Keys of widgets that belong to one
row begin with the row's kind and end with its id; these are built where the row is drawn.
"""

ACTING_TEAM_KNOWN = "acting-team-known"  # the team for which the choice of a team was last drawn
ACTIVITY_PAGE = "activity-page"  # how often the pager of the log of calls was drawn anew
AUDIT_PAGE = "audit-page"  # the page of the audit log
BUDGET_ERROR = "budget_error"
CACHE_NOTICE = "cache_notice"
CONFIGURATION_CHECK = "configuration_check"  # the outcome of a configuration's connection test
CONFIGURATION_ERROR = "configuration_error"
CONNECTED_KEY_CHOICE = "connect-key"  # the key that is chosen on Connect
CONNECTING_KEY = "connect_key"  # the key that Connect has made, to be shown once
CONNECTION_TRIAL = "connect_tried"  # the call by which Connect tried a key
CONVERSATIONS_PAGE = "conversations-page"  # the page of the list of conversations
CONVERSATION_ERROR = "conversation-error"
EDITED_MESSAGE = "editing"  # the id of the message that is being edited
EDITED_PASSAGE = "editing-passage"  # the id of the passage that is being edited
EDITED_QUESTION = "editing-question"  # the id of the run whose question is being edited
EXPERIMENT_ERROR = "experiment_error"
FOUND_MESSAGES = "found-messages"  # how many hits of the search were opened, so that each is scrolled to once
IMPORTED_QUESTIONS = "questions_imported"  # how many questions a file has just brought
IMPORT_MAPPING = "import-mapping"  # which columns of a file of usage are which of ours
IMPORT_PREVIEW = "import-preview"  # the preview of a file of usage
INSPECTED_CALL = "inspected-call"  # the id of the call whose panel is open
NEW_API_KEY = "api_key_made"  # a key that was just made, to be shown once
OPENED_PASSAGE = "opened-passage"  # the id of the passage whose surroundings are shown
OPENED_PROMPT = "prompt-opened"  # the prompt and version in the editor
OPENED_RUN = "playground-opened"  # the run that is laid out in the panes
OPEN_TAB = "tab"  # which tab of a page is open
OVERRIDE_ERROR = "override_error"
PAGES = "_pages"  # the pages that the navigation offers, by name
PLAYGROUND_RUNS_PAGE = "runs_page"  # the page of the playground's past runs
PROMOTION = "promotion"  # the experiment and the change by which its winner was put in use, for Undo
PROMPT_ERROR = "prompt_error"
PROVIDER_ERROR = "provider_error"
REPRICED_MODEL = "reprice-model"  # model and first day that a saved price suggests to price anew
REPRICING_PREVIEW = "reprice-preview"  # range and preview of pricing anew
REPRICING_SUGGESTION = "reprice-wanted"  # what the dialog for pricing anew begins with
RUN_AGAIN = "run_again"  # the CachePolicy with which the playground is to send its question once more
SEARCH_WORDS = "q"  # what stands in a page's search field
SEND_ERROR = "send_error"  # an error of the playground's form
SERVER_ERROR = "server_error"
TOOL_RUNS_PAGE = "run-page"  # the page of the runs of tools
TOOL_SOURCE = "tool-source"  # the source by which tools are filtered
TURNS_BEGUN = "begun"  # how many turns were begun here, so that the message field is a new one each time
UNSENT_MESSAGE = "unsent"  # conversation, text and error of a message that could not be sent
WORKFLOW_ERROR = "workflow_error"
