"""The state as a whole: copied into files, put back, put into more partitions.

Done while no worker runs. `archive` is the form of the files, `quiet` makes sure of the silence,
`backup` reads a cluster, `restore` writes one, `verify` looks at the books in the files.
"""
