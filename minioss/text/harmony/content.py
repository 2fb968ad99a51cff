"""What a message says, as the text that the model reads: the layout of system and developer messages.

Source: openai/harmony, ``src/encoding.rs``, ``Render<SystemContent>`` and ``Render<DeveloperContent>``.
"""

from minioss.text.harmony.messages import Developer, System
from minioss.text.harmony.typescript import tools_text


def content_text(content: str | System | Developer, functions: bool = False) -> str:
    """Content as the model reads it.

    Parameters
    ----------
    content : text, or the parts of a system or developer message
    functions : whether the conversation has functions; the system message then says where calls go
    """
    if isinstance(content, System):
        return _system_text(content, functions)
    return _developer_text(content) if isinstance(content, Developer) else content


def _system_text(system: System, functions: bool) -> str:
    lines = [system.identity] if system.identity is not None else []
    lines += [f"Knowledge cutoff: {system.knowledge_cutoff}"] if system.knowledge_cutoff is not None else []
    lines += [f"Current date: {system.date}"] if system.date is not None else []
    sections = ["\n".join(lines)] if lines else []
    sections += [f"Reasoning: {system.effort}"] if system.effort is not None else []
    sections += [tools_text(system.namespaces)] if system.namespaces else []
    if system.channels:
        channels = f"# Valid channels: {', '.join(system.channels)}. Channel must be included for every message."
        calls = "\nCalls to these tools must go to the commentary channel: 'functions'." if functions else ""
        sections.append(channels + calls)
    return "\n\n".join(sections)


def _developer_text(developer: Developer) -> str:
    sections = ["# Instructions", developer.instructions] if developer.instructions is not None else []
    sections += [tools_text(developer.namespaces)] if developer.namespaces else []
    return "\n\n".join(sections)


def has_functions(content: str | System | Developer) -> bool:
    """Whether the content offers functions of the caller's."""
    return isinstance(content, Developer) and any(
        namespace.name == "functions" and namespace.functions for namespace in content.namespaces
    )
