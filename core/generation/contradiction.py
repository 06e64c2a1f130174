"""Whether two descriptions that resemble each other ask for different things.

Sentence embeddings place "largest" beside "smallest" and "divisible by 7" beside "divisible by
11". These rules look for just that, and for nothing else: they are meant for descriptions that
are otherwise alike.
"""

from __future__ import annotations

import re


def contradict(asked: str, known: str) -> bool:
    """Return whether the tasks differ in spite of similar words.

    They do if

    1. each says one of two opposites and not the other ("ascending", "descending"),
    2. each names a number that the other does not, or
    3. what is asked excludes something and the known task excludes nothing.
    """
    asked_words, known_words = _words(asked), _words(known)
    return (
        _opposed(asked_words, known_words)
        or _different_numbers(asked_words, known_words)
        or (_EXCLUSION.search(asked) is not None and _EXCLUSION.search(known) is None)
    )


_OPPOSITES: tuple[tuple[frozenset[str], frozenset[str]], ...] = tuple(
    (frozenset(one.split()), frozenset(other.split()))
    for one, other in (
        ("max maximum largest biggest greatest highest longest most", "min minimum smallest least lowest shortest"),
        ("even", "odd"),
        ("first initial beginning leftmost", "last final end ending rightmost"),
        ("left", "right"),
        ("ascending increasing ascend", "descending decreasing descend"),
        ("upper uppercase", "lower lowercase"),
        ("encode encrypt encoding compress", "decode decrypt decoding decompress"),
        ("add insert append", "remove delete drop"),
        ("union", "intersection"),
        ("prefix starts begins startswith", "suffix ends endswith"),
        ("row rows", "column columns"),
        ("positive", "negative"),
        ("sum", "product"),
        ("area", "perimeter circumference volume"),
        ("push enqueue", "pop dequeue"),
        ("above greater larger bigger", "below less smaller"),
        ("vowel vowels", "consonant consonants"),
        ("numerator", "denominator"),
        ("horizontal horizontally", "vertical vertically"),
        ("serialize serialise", "deserialize deserialise"),
        ("celsius", "kelvin"),
    )
)

_NUMBER_WORDS = (
    ("2", "two second"),
    ("3", "three third"),
    ("4", "four fourth"),
    ("5", "five fifth"),
    ("6", "six sixth"),
    ("7", "seven seventh"),
    ("8", "eight eighth"),
    ("9", "nine ninth"),
    ("10", "ten tenth"),
)
"""Without "one" and "first", which mostly do not count anything."""
_NUMERALS = {word: number for number, words in _NUMBER_WORDS for word in words.split()}

_EXCLUSION = re.compile(r"\b(?:without|except|excluding|(?<!or )(?<!if )not|non)\b", re.IGNORECASE)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+|\d+", text.lower()))


def _opposed(one: frozenset[str], other: frozenset[str]) -> bool:
    def says(words: frozenset[str], these: frozenset[str], not_those: frozenset[str]) -> bool:
        return bool(words & these) and not words & not_those

    return any(
        (says(one, a, b) and says(other, b, a)) or (says(one, b, a) and says(other, a, b)) for a, b in _OPPOSITES
    )


def _different_numbers(one: frozenset[str], other: frozenset[str]) -> bool:
    first, second = _numbers(one), _numbers(other)
    return bool(first - second) and bool(second - first)


def _numbers(words: frozenset[str]) -> frozenset[str]:
    return frozenset(_NUMERALS.get(word, word) for word in words if word.isdigit() or word in _NUMERALS)
