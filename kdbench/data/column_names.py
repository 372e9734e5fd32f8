"""Names that columns of texts, labels and splits have in published data sets."""

PAIRS = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("text_a", "text_b"),
    ("text1", "text2"), ("question", "sentence"), ("question", "passage"), ("query", "document"), ("query", "passage"),
    ("#1 string", "#2 string"), ("sentence_a", "sentence_b"),
)  # fmt: skip
TEXTS = (
    "text", "sentence", "review", "content", "utterance", "question", "body", "comment", "tweet", "message", "document",
    "description", "query", "headline", "title", "phrase", "abstract",
)  # fmt: skip
LABELS = (
    "label", "labels", "label_text", "label_name", "category", "class", "target", "intent", "sentiment", "emotion",
    "topic", "gold_label", "stars", "rating", "overall", "y", "polarity",
)  # fmt: skip
SCORES = ("score", "similarity", "similarity_score", "value", "relatedness", "relatedness_score")
SPLITS = ("split", "set", "partition", "subset", "fold", "data_split", "usage")
KNOWN = {*TEXTS, *LABELS, *SCORES, *SPLITS, "id", "index", "idx", *(name for pair in PAIRS for name in pair)}
