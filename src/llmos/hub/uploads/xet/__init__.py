"""The Xet protocol (https://huggingface.co/docs/xet): chunks arrive in xorbs, shards say which
chunks make which file. Files are rebuilt when their shard comes, so that everything else sees plain
blobs; how they were cut is kept, so that they can leave as chunks too."""
