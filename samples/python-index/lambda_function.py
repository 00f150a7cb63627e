# Builds an index in Init, which takes about a second: what SnapStart saves is the work that need not be done again.
import collections
import itertools
import os

SYLLABLES = ["ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "xu", "za"]


def documents(count):
    words = ["".join(w) for w in itertools.product(SYLLABLES, repeat=3)]
    for n in range(count):
        yield n, [words[(n * 31 + k * k * 7) % len(words)] for k in range(40)]


index = collections.defaultdict(set)
for number, text in documents(int(os.environ.get("DOCUMENTS", "40000"))):
    for word in text:
        index[word].add(number % 64)


def handler(event, context):
    word = event.get("word", "bacedi")
    return {"word": word, "shelves": len(index.get(word, ())), "words": len(index)}
