"""The two built-in tools that gpt-oss was trained with, in the words that it was trained on.

They stand in the system message, where the caller's own functions stand in the developer message.

Source: openai/harmony, ``src/chat.rs``, ``ToolNamespaceConfig``.
"""

from minioss.text.harmony.messages import Function, Namespace

NUMBER, STRING = {"type": "number"}, {"type": "string"}
UNSET = NUMBER | {"default": -1}

SEARCH = Function(
    "search",
    "Searches for information related to `query` and displays `topn` results.",
    {
        "type": "object",
        "properties": {"query": STRING, "topn": NUMBER | {"default": 10}, "source": STRING},
        "required": ["query"],
    },
)

OPEN = Function(
    "open",
    "Opens the link `id` from the page indicated by `cursor` starting at line number `loc`, "
    "showing `num_lines` lines.\n"
    "Valid link ids are displayed with the formatting: `【{id}†.*】`.\n"
    "If `cursor` is not provided, the most recent page is implied.\n"
    "If `id` is a string, it is treated as a fully qualified URL associated with `source`.\n"
    "If `loc` is not provided, the viewport will be positioned at the beginning of the document "
    "or centered on the most relevant passage, if available.\n"
    "Use this function without `id` to scroll to a new location of an opened page.",
    {
        "type": "object",
        "properties": {
            "id": {"type": ["number", "string"], "default": -1},
            "cursor": UNSET,
            "loc": UNSET,
            "num_lines": UNSET,
            "view_source": {"type": "boolean", "default": False},
            "source": STRING,
        },
    },
)

FIND = Function(
    "find",
    "Finds exact matches of `pattern` in the current page, or the page given by `cursor`.",
    {"type": "object", "properties": {"pattern": STRING, "cursor": UNSET}, "required": ["pattern"]},
)

BROWSER = Namespace(
    "browser",
    (SEARCH, OPEN, FIND),
    "Tool for browsing.\n"
    "The `cursor` appears in brackets before each browsing display: `[{cursor}]`.\n"
    "Cite information from the tool using the following format:\n"
    "`【{cursor}†L{line_start}(-L{line_end})?】`, for example: `【6†L9-L11】` or `【8†L3】`.\n"
    "Do not quote more than 10 words directly from the tool output.\n"
    "sources=web (default: web)",
)

PYTHON = Namespace(
    "python",
    (),
    "Use this tool to execute Python code in your chain of thought. The code will not be shown to the user. "
    "This tool should be used for internal reasoning, but not for code that is intended to be visible to the user "
    "(e.g. when creating plots, tables, or files).\n\n"
    "When you send a message containing Python code to python, it will be executed in a stateful Jupyter notebook "
    "environment. python will respond with the output of the execution or time out after 120.0 seconds. The drive at "
    "'/mnt/data' can be used to save and persist user files. Internet access for this session is UNKNOWN. "
    "Depends on the cluster.",
)
