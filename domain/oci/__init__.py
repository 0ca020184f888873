"""The OCI image formats as values: what is in an image, read strictly, with no disk and no network.

    digest        the name of content, validated before any use
    reference     image names as Docker parses, normalises and shows them
    strict_json   documents from strangers: one reading only, limits on size, depth and count
    descriptor    a pointer to content: media type, digest, size
    manifest      an image's manifest, an index of manifests
    image_config  what the image says about running it; its digest is the image id
    chain_id      the name of a stack of layers
    layer         media types and whiteout names
    shell_words   quotes and variables in those instructions
    changes       the Dockerfile instructions of ``docker import --change`` and ``docker commit --change``

Everything here is pure and takes what strangers wrote: it validates, bounds and refuses before anybody uses a value.
"""
