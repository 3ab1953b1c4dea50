"""The emotions of each corpus, in the order of the literature."""

MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")

LABELS = {"demo": MELD, "meld": MELD, "iemocap": IEMOCAP}
