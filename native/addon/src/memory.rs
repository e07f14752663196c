//! Memory that the program holds and does not need: given back when it is asked for.

#[cfg(target_os = "linux")]
use std::ffi::{c_int, c_void};

/// Gives back what the system's allocator holds free inside its arenas: it does so by itself only
/// at their ends, and what the start and V8's compiler have left lies in between.
#[napi_derive::napi]
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code)]
    // SAFETY: malloc_trim(3) takes the locks that it needs and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Forgets which pages of code and constants were used: Node's, the addon's and the libraries'.
/// They stay in the system's page cache, and a page that is used again is there again within a
/// microsecond; what only the start needed is the system's to take.
#[napi_derive::napi]
pub fn release_code() {
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    // SAFETY: `forget` is of the type that is asked for and keeps nothing.
    unsafe {
        libc::dl_iterate_phdr(Some(forget), std::ptr::null_mut());
    }
}

/// For one library: its segments that cannot be written are what the file has there, so they can
/// be read from it again. What was relocated lies in segments that can (RELRO, too).
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
unsafe extern "C" fn forget(
    library: *mut libc::dl_phdr_info,
    _: libc::size_t,
    _: *mut c_void,
) -> c_int {
    // SAFETY: the linker hands out a library that is loaded, and waits with unloading it.
    let (base, segments) = unsafe {
        let library = &*library;
        let count = usize::from(library.dlpi_phnum);
        (
            library.dlpi_addr,
            std::slice::from_raw_parts(library.dlpi_phdr, count),
        )
    };
    // SAFETY: sysconf(3) reads a constant.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
    for segment in segments {
        if segment.p_type != libc::PT_LOAD || segment.p_flags & libc::PF_W != 0 {
            continue;
        }
        let begin = base + segment.p_vaddr;
        let (first, end) = (
            begin.next_multiple_of(page),
            (begin + segment.p_memsz) / page * page,
        );
        if let Some(bytes) = end.checked_sub(first) {
            // SAFETY: whole pages of a mapping of a file that nobody wrote to.
            unsafe { libc::madvise(first as *mut c_void, bytes as usize, libc::MADV_DONTNEED) };
        }
    }
    0
}
