/* faults.h - a table of system calls whose n-th call fails, for tests that fail each in turn. */
#ifndef AC_TESTS_FAULTS_H
#define AC_TESTS_FAULTS_H

/* Count calls from now on, and fail the n-th (1 = the next) with `error`; 0 fails none. */
void ac_sys_fail_at(unsigned long n, int error);
/* The same for the processes that are forked from now on, all together; not for this one. */
void ac_sys_fail_children_at(unsigned long n, int error);
/* Calls since; puts the real table back. */
unsigned long ac_sys_calls(void);

#endif
