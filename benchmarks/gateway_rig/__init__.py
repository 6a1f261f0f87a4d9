"""Parts of the gateway's benchmarks: an upstream, a bare relay, a load generator, an installation of ours."""
