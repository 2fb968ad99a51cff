"""Ranking texts by the words of a query (BM25).

    score(text) = Σ idf(w) n_w (k + 1) / (n_w + k (1 - b + b length / mean length))
                  w

over the words w of the query, with n_w how often w stands in the text, k = 1.2, b = 0.75, and

    idf(w) = ln(1 + (N - N_w + 1/2) / (N_w + 1/2))

for N texts of which N_w hold the word: a rare word says more than a common one, and the tenth
time a word is met adds less than the first.

Source: Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, section 3.
"""

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

K, B = 1.2, 0.75
# Chinese and Japanese have no spaces between words: there, each character counts as one.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")


def words(text: str) -> list[str]:
    """The words of a text, in lower case.

    Examples
    --------
    >>> words("The sliding_window: 128!")
    ['the', 'sliding', 'window', '128']
    """
    return WORD.findall(text.casefold())


class Index:
    """Texts, to be ranked again and again."""

    def __init__(self, texts: Iterable[str]) -> None:
        found: defaultdict[str, array] = defaultdict(partial(array, "I"))
        lengths = []
        for number, text in enumerate(texts):
            counts = Counter(words(text))
            lengths.append(counts.total())
            for word, count in counts.items():
                found[word].extend((number, count))
        self._postings = {word: np.array(entries).reshape(-1, 2) for word, entries in found.items()}
        lengths_N = np.array(lengths, np.float64)
        self._damping_N = K * (1 - B + B * lengths_N / max(1.0, lengths_N.mean() if lengths else 1.0))

    def scores(self, query: str) -> NDArray[np.float64]:
        """How well each text fits the query: (N,); 0 where it has none of the words."""
        scores_N = np.zeros(len(self._damping_N))
        for word in set(words(query)) & self._postings.keys():
            numbers, counts = self._postings[word].T
            idf = np.log1p((len(scores_N) - len(numbers) + 0.5) / (len(numbers) + 0.5))
            scores_N[numbers] += idf * counts * (K + 1) / (counts + self._damping_N[numbers])
        return scores_N
