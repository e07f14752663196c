//! jemalloc for what the crates allocate: the least memory for each idle connection, and memory
//! that goes back to the system after a peak. Node and BoringSSL keep the system's allocator.
//! Its thread-local state is not of the initial-exec kind (feature of the crate): Node loads the
//! addon with dlopen, when there is no static TLS space left to take.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Read by jemalloc when it starts. Few arenas, since few threads allocate much; pages that were
/// freed go back within a second or two, also when nothing allocates any more.
#[used]
#[unsafe(export_name = "_rjem_malloc_conf")]
static CONFIGURATION: &[u8; 70] =
    b"narenas:4,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true\0";
