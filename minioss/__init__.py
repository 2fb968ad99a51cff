"""gpt-oss in pure NumPy, made to be read, with a Cython hot path."""

from minioss.cache import Cache
from minioss.chat.conversation import Chat
from minioss.checkpoint.loading import TINY, load
from minioss.checkpoint.synthetic import synthesize
from minioss.config import Config, RopeConfig, preset
from minioss.errors import InputError, NotFiniteError
from minioss.explore.page import explore_page
from minioss.model import Model
from minioss.text.generation import Token, generate, generate_batch
from minioss.text.streaming import TextStream, stream_text
from minioss.text.tokenizer import load_tokenizer
from minioss.verify.comparing import compare
from minioss.verify.diagnosis import diagnose
from minioss.verify.faults import fault
from minioss.verify.tracing import trace

__all__ = [
    "TINY",
    "Cache",
    "Chat",
    "Config",
    "InputError",
    "Model",
    "NotFiniteError",
    "RopeConfig",
    "TextStream",
    "Token",
    "compare",
    "diagnose",
    "explore_page",
    "fault",
    "generate",
    "generate_batch",
    "load",
    "load_tokenizer",
    "preset",
    "stream_text",
    "synthesize",
    "trace",
]
__version__ = "0.1.0"
