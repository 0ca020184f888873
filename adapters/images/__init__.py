"""Images on disk: the content store, the unpacked layers, and the way of an archive from a stream into both.

    openat2, disk     system calls and files: names resolved beneath a descriptor, modes proof against the umask, durability
    decompress        gzip, zstd, xz, bzip2 or plain, told by their first bytes, in bounded memory
    tar_reader        headers of an archive from a stranger, as values
    paths             the one function that turns a member's name into a path
    tree, unpack      a layer's directory, written through directory descriptors only
    remove_tree       deleting what containers left, never across a mount and never through a link
    content_store     blobs and index: an OCI image layout that skopeo and umoci read
    layers            unpacked layers by chain id, ready for overlayfs
    importer          one pass from a stream to blob, config, manifest and layer
    elf, base_image   the image that is assembled on the machine

Everything here blocks and belongs into a worker thread.
"""
