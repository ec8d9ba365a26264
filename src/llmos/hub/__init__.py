"""The hub: where members share models, data sets, runs and results.

It speaks the Hugging Face protocol, so that huggingface_hub, transformers, datasets and `hf` are
its clients, and never imports torch. The rooms, from the ground up:

    settings, errors, hub        what a hub is made of
    database/                    tables, connections, migrations
    storage/                     blobs by their sha256, on disk or in S3
    git/                         trees and commits, as git counts them
    accounts/                    people, organisations, tokens, rights, the audit log
    repos/                       repositories: made, listed, committed to, indexed
    uploads/                     large files: LFS, Xet, checks on landing
    together/                    discussions, pull requests, access requests, collections, webhooks
    runs/                        joint runs, signed results, members, licences, lineage
    api/                         the HTTP surface: routes, who is asking, answers
    upkeep/                      backup, restore, garbage collection, fsck, statistics
"""
