"""A flash sale that is replayed without and with lockservice, and audited by who knows what must come out."""
