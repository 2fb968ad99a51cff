"""Token ids to messages, one token at a time, whatever the model says.

There are two states: in a header, and in the content of a message.

    token                                in a header                       in content
    <|start|>                            a header begins                   the message ends, a header begins
    <|channel|>                          belongs to the header             the message ends, a header begins
    <|message|>                          the content begins                is text
    <|end|> <|call|> <|return|>          the message ends                  the message ends
    <|endoftext|>                        the message ends                  the message ends
    any other                            belongs to the header             is text

A message whose form is wrong gets a note, which says what was found and what was expected, and
quotes a faulty header. No text is lost. Outside headers, every character is in the content of a
message, in order. In a header, every word is in a field of its message or in the note; and a header
that ``<|message|>`` never ends becomes content itself. Only white space in headers, and special
tokens that did their work, leave no trace.

Source: openai/harmony, ``src/encoding.rs``, ``StreamableParser``, which raises where this one takes note.
"""

from dataclasses import replace

import tiktoken

from minioss.text.harmony.header import read_cut_header, read_header, text_of
from minioss.text.harmony.messages import Message
from minioss.text.harmony.rendering import Opening, open_message
from minioss.text.harmony.special import END_OF_TEXT, ENDS, special_tokens
from minioss.text.streaming import TextStream

NOTHING = "nothing more"


class Parser:
    """Takes the model's tokens and gives text and messages. It never raises on what a model says.

    It begins where a prompt ends, after ``<|start|>assistant``; a stored conversation, which begins
    with ``<|start|>``, is read as well.

    Parameters
    ----------
    encoding : of the model; it must have the special tokens of harmony
    opening : as given to `render_prompt`

    Attributes
    ----------
    messages : those that are complete
    current : the message whose content is being read, as far as it is; None in a header

    Raises
    ------
    InputError
        At the start, where the encoding lacks a special token or the opening is not known.

    Examples
    --------
    >>> from minioss.checkpoint.tokenizer_json import byte_vocabulary
    >>> from minioss.text.tokenizer import from_vocabulary
    >>> encoding = from_vocabulary(byte_vocabulary(), "bytes", None)
    >>> parser = Parser(encoding)
    >>> said = "<|channel|>final<|message|>Hé!<|return|>"
    >>> [text for token in encoding.encode(said, allowed_special="all") if (text := parser.push(token))]
    ['H', 'é', '!']
    >>> parser.messages[0].channel, parser.messages[0].content
    ('final', 'Hé!')
    """

    def __init__(self, encoding: tiktoken.Encoding, opening: Opening | None = None) -> None:
        self._encoding, self._special = encoding, special_tokens(encoding)
        known = encoding.special_tokens_set
        self._ends = {encoding.encode_single_token(name): name for name in [*ENDS, END_OF_TEXT] if name in known}
        self.messages: list[Message] = []
        self._forget(role_is_known=True)
        for token in open_message(encoding, opening)[len(open_message(encoding)) :]:
            self.push(token)

    @property
    def current(self) -> Message | None:
        """The message that has begun and not ended, as far as it is known; None between messages."""
        return None if self._message is None else replace(self._message, content="".join(self._said))

    def push(self, token: int) -> str:
        """Take one token; return the text that is certain now.

        It belongs to ``current``; where that is None, to the last of ``messages``.
        """
        if token == self._special.start:
            text = self._end("<|start|>")
            self._forget(role_is_known=False)
            return text
        if token in self._ends:
            return self._end(self._ends[token])
        if self._message is None:
            self._push_header(token)
            return ""
        if token == self._special.channel:
            text = self._end("<|channel|>")
            self._push_header(token)
            return text
        self._said.append(self._stream.push(token))
        return self._said[-1]

    def finish(self) -> str:
        """End the last message where the tokens do; return the text that was still held."""
        return self._end(NOTHING)

    def _forget(self, role_is_known: bool) -> None:
        """Be at the start of a header, which holds the role or has it known."""
        self._header: list[int] = []
        self._role_is_known = role_is_known
        self._message: Message | None = None
        self._said: list[str] = []
        self._stream = TextStream(self._encoding)

    def _push_header(self, token: int) -> None:
        if token != self._special.message:
            self._header.append(token)
            return
        self._message, faults = read_header(self._header, self._role_is_known, self._encoding, self._special)
        if self._role_is_known and self.messages:
            faults.append("<|start|> is missing")
        if faults:
            found = text_of(self._header, self._encoding)
            self._message = replace(self._message, note=f'in the header "{found}" {"; ".join(faults)}')

    def _end(self, found: str) -> str:
        """Complete what is being read, at the special token ``found`` or at the end of all tokens."""
        text = self._end_header(found) if self._message is None else self._end_content(found)
        self._forget(role_is_known=True)
        return text

    def _end_header(self, found: str) -> str:
        """A header without a content is a message all the same, if it says anything."""
        if not text_of(self._header, self._encoding).strip():
            return ""
        message = read_cut_header(self._header, self._role_is_known, self._encoding, self._special)
        note = f"found {found}, expected <|message|> after the header: what is no role and no channel is read as text"
        self.messages.append(replace(message, note=note))
        return message.content

    def _end_content(self, found: str) -> str:
        text = self._stream.finish()
        notes = [self._message.note] if self._message.note else []
        if found not in (*ENDS, NOTHING):
            notes.append(f"found {found} in the text, expected one of {', '.join(ENDS)} to end it")
        content = "".join([*self._said, text])
        self.messages.append(replace(self._message, content=content, note="; ".join(notes) or None))
        return text
