/*
 * TSan builds only. TSan follows setjmp and longjmp by those names; the system's Lua, built with
 * _FORTIFY_SOURCE, jumps by __longjmp_chk, which TSan does not know: its shadow of the C stack would grow
 * with every error that Lua raises, by tens of GiB in the end. This definition stands before the C library's.
 */
#include <setjmp.h>
#include <stdnoreturn.h>

noreturn void __longjmp_chk(jmp_buf env, int value); /* NOLINT: the C library's own name */

__attribute__((visibility("default"))) noreturn void __longjmp_chk(jmp_buf env, int value)
{
    /* A buffer of _setjmp holds no signal mask, so longjmp has none to restore. */
    longjmp(env, value); /* what Lua asked for */
}
