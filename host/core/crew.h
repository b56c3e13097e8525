/* core/crew.h - a thread that does jobs for others, one after the other, in the order in which they were posted: the builder, which makes
 * VMs, and the reaper, which closes them. Jobs that run logic do so under its limits: a crew with a watchdog is watched. */
#ifndef WEIR_CORE_CREW_H
#define WEIR_CORE_CREW_H

#include "base/err.h"
#include "base/inbox.h"

struct weir_crew;
struct weir_watchdog;

/* Makes it, and its thread. `name` is kept; `dog` NULL: it is not watched. */
int weir_crew_start(const char *name, struct weir_watchdog *dog, struct weir_crew **ret, struct weir_err *reterr);
/* Has it do what is left, those jobs that jobs post included, waits for its end and frees it. Nobody else posts any more. Takes NULL. */
void weir_crew_stop(struct weir_crew *crew);
/* Gives `m` away: `m->deliver` runs on the crew's thread and frees it, if need be. Never waits for it. Any thread. */
void weir_crew_post(struct weir_crew *crew, struct weir_message *m);

#endif
