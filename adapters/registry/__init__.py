"""Registries: a client of the OCI Distribution specification (version 2 of Docker's registry API).

    port          the domain's `Registry`: opens a repository, logs in, searches. Imports everything else at first use
    endpoints     which addresses a reference's domain stands for, as Docker has it: mirrors, plain http, Docker Hub
    repository    one repository over one registry: manifests and blobs, with the endpoints tried in order
    download      a blob as a stream that goes on after a cut
    upload        a blob or manifest on its way out: mounted, or sent in chunks that go on after a cut
    searching     the index's search, or a registry's catalog
    exchange      a request with its redirects, its authorization and its second tries
    authorization what a registry's challenge asks for: basic credentials, or a token for a scope
    challenge     the header that says so
    client        connections, through proxies or not, and limits on what they bring
    connector     a name is resolved once, the address is checked, and that very address is connected to
    addresses     how far inside an address lies, and who may point there
    urls          addresses of the web, in the one reading that everything here uses
    failures      a registry's error as the sentence that Docker has for it

Whatever a registry answers is untrusted. Credentials go to the registry that they are for and to the place that it names for
tokens, if that is its own, and nowhere else (S27); what it points to may not lie further inside than it does itself (S28).
"""
