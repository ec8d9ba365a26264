"""From raw text to a clean, deduplicated, documented folder: `llmos data prepare`.

| file       | what                                                                      |
|------------|---------------------------------------------------------------------------|
| prepare    | the whole of it, stage by stage: begin here                               |
| settings   | all that the tasks need to know, as data                                  |
| chain      | the steps in their order                                                  |
| cleaning   | stage 1, a task a chunk: read, clean, leave fingerprints of duplicates    |
| writing    | stage 3, a task a chunk: take duplicates out, write what a run reads      |
| finishing  | stage 4: proof, data card                                                 |
| places     | where all of it lies                                                      |
| aside      | what is dropped, kept with the reason                                     |
| tokens     | how many tokens a tokenizer makes of it                                   |
| lines      | a document as a line of JSON                                              |
| executors  | where tasks run: processes of this machine, Slurm, Ray                    |

Stage 2, which tells the duplicates, is `llmos.data.dedup`.
"""
