"""The write side of the Xet protocol, version 1: chunks arrive in xorbs, shards say which chunks
make which file (https://huggingface.co/docs/xet). Files are rebuilt when their shard comes, so that
everything else sees plain blobs."""
