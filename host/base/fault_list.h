/* base/fault_list.h - every failure that a test can inject, sorted. Each is fired by at least one test.
 * X(NAME, text): NAME is what WEIR_FAULT and weir_fault_arm take. */
#define WEIR_FAULT_LIST(X)                                                                                   \
    X(ACCEPT_EMFILE, "accepting a connection finds no free descriptor")                                      \
    X(FSYNC_EIO, "a file can't be synced to its disk")                                                       \
    X(POLL_INIT, "the descriptors of a program that was started can't be polled")                            \
    X(THREAD_CREATE, "the system refuses a new thread")                                                      \
    X(WRITE_NOSPC, "a file takes half of a write, then the disk is full")
