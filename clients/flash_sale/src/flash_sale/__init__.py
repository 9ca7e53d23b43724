"""A flash sale that is replayed without and with lockservice, and audited by somebody who knows what must come out."""
