/* Mistakes in weir.yaml, each with the exact first line of its report. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "app_fixture.h"

#define HEAD    "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: a}\n" /* lines 1 to 3 */
#define STAGE_A HEAD "  a:\n    handler: a.lua\n"                                 /* to line 5 */

struct mistake {
    const char *text, *line;
};

static const struct mistake mistakes[] = {
    /* The file as a whole */
    {"", "weir.yaml:1:1: error: there is nothing in it; an application begins with 'weir: 1'"},
    {"- a\n",
     "weir.yaml:1:1: error: expected the keys of an application ('weir: 1', 'stages:' ...), found a list"},
    {"stages: {web: {source: http, listen: ':80', to: n}, n: {sink: null}}\n",
     "weir.yaml:1:1: error: 'weir: 1', the version of the format, is missing"},
    {"weir: 2\nstages: {web: {source: http, listen: ':80', to: n}, n: {sink: null}}\n",
     "weir.yaml:1:7: error: 'weir': expected 1, the version of the format that this weir reads, found '2'"},
    {"weir: 1\n", "weir.yaml:1:1: error: 'stages' is missing"},
    {"weir: 1\nstages: {}\n",
     "weir.yaml:2:9: error: 'stages': expected a map with at least one stage, found an empty map"},
    {"weir: 1\nstages: [a]\n",
     "weir.yaml:2:9: error: 'stages': expected a map with at least one stage, found a list"},
    {STAGE_A "stagse: {}\n",
     "weir.yaml:6:1: error: unknown key 'stagse' in the application (did you mean 'stages'?)"},
    {STAGE_A "colour: red\n",
     "weir.yaml:6:1: error: unknown key 'colour' in the application (known: weir, name, classes, drain, "
     "pools, defaults, stages, admin, shared, overload)"},
    {STAGE_A "name: a/b\n", "weir.yaml:6:7: error: 'name': expected at most 64 letters, digits, _, - and . "
                            "(not first), found 'a/b'"},
    {STAGE_A "drain: 30\n",
     "weir.yaml:6:8: error: 'drain': expected a duration such as 250us, 10ms, 1.5s, 2m or 1h, found '30': "
     "the unit is missing"},
    {STAGE_A "drain: 2d\n", "weir.yaml:6:8: error: 'drain': expected a duration from 0 to 1d, found '2d'"},
    {STAGE_A "classes: normal\n",
     "weir.yaml:6:10: error: 'classes': expected a list of 1 to 16 names, the highest first, found 'normal'"},
    {STAGE_A "classes: [a, b, a]\n", "weir.yaml:6:17: error: the class 'a' is given twice"},
    {STAGE_A "classes: [A]\n", "weir.yaml:6:11: error: the class name 'A' must begin with a-z or _"},
    /* Admin */
    {STAGE_A "admin: {listen: '0.0.0.0:9901'}\n", "weir.yaml:6:17: error: the admin API on '0.0.0.0:9901' "
                                                  "could be reached from outside: that needs 'token_file'"},
    {STAGE_A "admin: {listen: '9901'}\n",
     "weir.yaml:6:17: error: 'listen': expected an address such as :8080, 127.0.0.1:8080, "
     "[::1]:8080 or unix:/run/x.sock, found '9901': the port is missing"},
    {STAGE_A "admin: {token_file: x}\n",
     "weir.yaml:6:8: error: 'admin' needs 'listen', an address such as 127.0.0.1:9901"},
    {STAGE_A "admin: yes\n", "weir.yaml:6:8: error: 'admin': expected a map, found 'yes'"},
    /* Shared tables */
    {STAGE_A "shared: [a]\n", "weir.yaml:6:9: error: 'shared': expected a map of shared tables, found a list"},
    {STAGE_A "shared: {a: {bytse: 1MiB}}\n",
     "weir.yaml:6:14: error: unknown key 'bytse' in 'a' (did you mean 'bytes'?)"},
    {STAGE_A "shared: {a: 3MiB}\n", "weir.yaml:6:13: error: 'a': expected a map, found '3MiB'"},
    {STAGE_A "shared: {a: {bytes: 1KiB}}\n",
     "weir.yaml:6:21: error: 'bytes': expected a size from 4KiB to 1TiB, found '1KiB'"},
    {STAGE_A "shared: {a: {ttl: 0s}}\n",
     "weir.yaml:6:19: error: 'ttl': expected a duration from 1ms to 365d, found '0s'"},
    {STAGE_A "shared: {A: {}}\n", "weir.yaml:6:10: error: the shared table name 'A' must begin with a-z or _"},
    /* Overload */
    {STAGE_A "overload: on\n", "weir.yaml:6:11: error: 'overload': expected a map, found 'on'"},
    {STAGE_A "overload: {ram: 1GiB}\n",
     "weir.yaml:6:12: error: unknown key 'ram' in 'overload' (known: memory, descriptors, lag, every, hold, hysteresis)"},
    {STAGE_A "overload: {memory: {limt: 1GiB}}\n",
     "weir.yaml:6:21: error: unknown key 'limt' in 'memory' (did you mean 'limit'?)"},
    {STAGE_A "overload: {memory: 1KiB}\n", "weir.yaml:6:20: error: 'memory': expected a size from 1MiB to 1024TiB, found '1KiB'"},
    {STAGE_A "overload: {descriptors: few}\n",
     "weir.yaml:6:25: error: 'descriptors': expected a whole number from 16 to 1073741824, found 'few'"},
    {STAGE_A "overload: {lag: {limit: 3}}\n", "weir.yaml:6:25: error: 'limit': expected a duration such as 250us, 10ms, 1.5s, 2m or 1h, found '3': the unit is missing"},
    {STAGE_A "overload: {lag: {shed: 120%}}\n",
     "weir.yaml:6:24: error: 'shed': expected a share such as 80% or 0.8, or off, found '120%'"},
    {STAGE_A "overload: {lag: {shed: 0.5.5}}\n",
     "weir.yaml:6:24: error: 'shed': expected a share such as 80% or 0.8, or off, found '0.5.5'"},
    {STAGE_A "overload: {hysteresis: off}\n",
     "weir.yaml:6:24: error: 'hysteresis': expected a share such as 5% or 0.05, found 'off'"},
    /* Pools */
    {STAGE_A "pools: 3\n", "weir.yaml:6:8: error: 'pools': expected a map of pools, found '3'"},
    {STAGE_A "pools: {disk: {treads: 2}}\n",
     "weir.yaml:6:9: error: pool 'disk' needs 'threads' (a number, or {min: , max: })"},
    {STAGE_A "pools: {disk: {threads: 2, blokcing: true}}\n",
     "weir.yaml:6:28: error: unknown key 'blokcing' in 'disk' (did you mean 'blocking'?)"},
    {STAGE_A "pools: {disk: {threads: 0}}\n",
     "weir.yaml:6:25: error: 'threads': expected a whole number from 1 to 1024, found '0'"},
    {STAGE_A "pools: {disk: {threads: many}}\n",
     "weir.yaml:6:25: error: 'threads': expected a whole number or {min: , max: }, found 'many'"},
    {STAGE_A "pools: {disk: {threads: {min: 4, max: 2}}}\n",
     "weir.yaml:6:39: error: 'max' (2) is below 'min' (4)"},
    {STAGE_A "pools: {disk: {threads: {min: 4}}}\n",
     "weir.yaml:6:25: error: 'threads': expected both 'min' and 'max'"},
    {STAGE_A "pools: {main: {blocking: true}}\n",
     "weir.yaml:6:26: error: the pool 'main' is event-driven and can't be blocking; make "
     "another pool for what blocks"},
    {STAGE_A "pools: {main: {blocking: 'yes'}}\n",
     "weir.yaml:6:26: error: 'blocking': expected true or false, found 'yes'"},
    {STAGE_A "pools: {Disk: {threads: 1}}\n",
     "weir.yaml:6:9: error: the pool name 'Disk' must begin with a-z or _"},
    /* What a stage is */
    {HEAD "  a: {to: web}\n",
     "weir.yaml:4:3: error: stage 'a' needs exactly one of source, handler, plugin and sink"},
    {HEAD "  a: a.lua\n",
     "weir.yaml:4:6: error: 'a': expected a map that has source, handler, plugin or sink, found 'a.lua'"},
    {HEAD "  a: {handler: a.lua, sink: null}\n",
     "weir.yaml:4:29: error: stage 'a' has both 'handler' and 'sink': exactly one of source, "
     "handler, plugin and sink is needed"},
    {HEAD "  a: {plugin: page_cache}\n",
     "weir.yaml:4:15: error: stage 'a': native plugins are not supported by this version"},
    {HEAD "  a: {handler: }\n", "weir.yaml:4:16: error: 'handler': expected a name, found nothing"},
    {HEAD "  a: {sink: nul}\n",
     "weir.yaml:4:13: error: stage 'a': there is no sink 'nul' (did you mean 'null'?); known: null, file"},
    {HEAD "  a: {sink: kafka}\n",
     "weir.yaml:4:13: error: stage 'a': there is no sink 'kafka'; known: null, file"},
    {HEAD "  a: {sink: file}\n", "weir.yaml:4:6: error: stage 'a' needs 'path' (where to write)"},
    {HEAD "  a: {sink: null, to: web}\n",
     "weir.yaml:4:19: error: stage 'a' is a sink and sends nothing: it can't have 'to'"},
    {HEAD "  a: {sink: null, libs: all}\n", "weir.yaml:4:19: error: 'libs' is not for a sink (stage 'a')"},
    {HEAD "  A: {sink: null}\n",
     "weir.yaml:3:42: error: stage 'web' sends 'out' to 'a', and there is no such stage"},
    {HEAD "  a:\n    handler: a.lua\n    qeue: {}\n",
     "weir.yaml:6:5: error: unknown key 'qeue' in stage 'a' (did you mean 'queue'?)"},
    /* A source and its options */
    {"weir: 1\nstages: {web: {source: http, to: n}, n: {sink: null}}\n",
     "weir.yaml:2:15: error: stage 'web' needs 'listen' (where to listen)"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80'}, n: {sink: null}}\n",
     "weir.yaml:2:10: error: source 'web' sends nowhere: it needs 'to'"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: {ok: n}}, n: {sink: null}}\n",
     "weir.yaml:2:50: error: source 'web' has one output, named 'out', and no 'ok'"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80x', to: n}, n: {sink: null}}\n",
     "weir.yaml:2:38: error: 'listen': expected an address such as :8080, 127.0.0.1:8080, [::1]:8080 or "
     "unix:/run/x.sock, found "
     "':80x': the port is not a number"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: n, idle_timout: 1s}, n: {sink: null}}\n",
     "weir.yaml:2:52: error: unknown key 'idle_timout' in stage 'web' (did you mean 'idle_timeout'?)"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: n, idle_timeout: 1us}, n: {sink: null}}\n",
     "weir.yaml:2:66: error: 'idle_timeout': expected a duration from 1ms, found '1us'"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: n, max_body: 2GiB}, n: {sink: null}}\n",
     "weir.yaml:2:62: error: 'max_body': expected a size from 0 to 1GiB, found '2GiB'"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: n, body: steam}, n: {sink: null}}\n",
     "weir.yaml:2:58: error: 'body': expected whole or stream, found 'steam' (did you mean 'stream'?)"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: n, date: on}, n: {sink: null}}\n",
     "weir.yaml:2:58: error: 'date': expected true or false, found 'on'"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: n, max_connections: 0}, n: {sink: null}}\n",
     "weir.yaml:2:69: error: 'max_connections': expected a whole number from 1 to 1000000, found '0'"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: n, server: [a]}, n: {sink: null}}\n",
     "weir.yaml:2:60: error: 'server': expected a string, found a list"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: n, server: 123456789}, n: {sink: null}}\n",
     "weir.yaml:2:60: error: 'server': the text is too long"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: n, hosts: []}, n: {sink: null}}\n",
     "weir.yaml:2:59: error: 'hosts': the list is too short"},
    {"weir: 1\nstages: {web: {source: http, listen: ':80', to: n, queue: {capacity: 1}}, n: {sink: null}}\n",
     "weir.yaml:2:52: error: 'queue' is not for a source (stage 'web')"},
    {"weir: 1\nstages: {web: {source: htp, listen: ':80', to: n}, n: {sink: null}}\n",
     "weir.yaml:2:24: error: stage 'web': there is no source 'htp' (did you mean 'http'?); known: http"},
    /* Settings */
    {STAGE_A "    queue: {capacity: 0}\n",
     "weir.yaml:6:23: error: 'capacity': expected a whole number from 1 to 16000000, found '0'"},
    {STAGE_A "    queue: {capacity: 16000001}\n",
     "weir.yaml:6:23: error: 'capacity': expected a whole number from 1 to 16000000, found '16000001'"},
    {STAGE_A "    queue: {bytes: 2TiB}\n",
     "weir.yaml:6:20: error: 'bytes': expected a size from 1 to 1TiB, found '2TiB'"},
    {STAGE_A "    queue: {max_age: -1s}\n",
     "weir.yaml:6:22: error: 'max_age': expected a duration such as 250us, 10ms, 1.5s, 2m or "
     "1h, found '-1s': it can't be negative"},
    {STAGE_A "    queue: {overflow: wiat}\n",
     "weir.yaml:6:23: error: 'overflow': expected reject, wait, drop_newest or drop_oldest, "
     "found 'wiat' (did you mean 'wait'?)"},
    {STAGE_A "    queue: {overflow: route}\n",
     "weir.yaml:6:23: error: 'overflow': route needs a stage: {route: STAGE}"},
    {STAGE_A "    queue: {overflow: {rout: a}}\n",
     "weir.yaml:6:23: error: 'overflow': expected {route: STAGE}"},
    {STAGE_A "    queue: {overflow: {route: b}}\n",
     "weir.yaml:6:31: error: stage 'a' routes to 'b', and there is no such stage"},
    {STAGE_A "    queue: {overflow: {route: a}}\n",
     "weir.yaml:6:31: error: what does not fit into the queue of 'a' can't be routed to 'a' itself"},
    {STAGE_A "    queue: {order: newest}\n",
     "weir.yaml:6:20: error: 'order': expected fifo, lifo, adaptive or class, found 'newest'"},
    {STAGE_A "    queue: {order: lifo, order_by: user}\n",
     "weir.yaml:6:20: error: 'order: lifo' can't be had together with 'order_by: user', which keeps the "
     "order of arrival"},
    {STAGE_A "    queue: 5\n", "weir.yaml:6:12: error: 'queue': expected a map, found '5'"},
    {STAGE_A "    batch: 0\n",
     "weir.yaml:6:12: error: 'batch': expected a whole number from 1 to 65536, found '0'"},
    {STAGE_A "    batch: {min: 9, max: 3}\n", "weir.yaml:6:26: error: 'batch': 'max' (3) is below 'min' (9)"},
    {STAGE_A "    batch: {min: 100}\n", "weir.yaml:6:18: error: 'batch': 'max' (64) is below 'min' (100)"},
    {STAGE_A "    concurrency: 1.5\n",
     "weir.yaml:6:18: error: 'concurrency': expected a whole number from 1 to 1000000, found '1.5'"},
    {STAGE_A "    limits: {slice: 1us}\n",
     "weir.yaml:6:21: error: 'slice': expected a duration from 100us to 1d, found '1us'"},
    {STAGE_A "    limits: {slice: 20ms, stall: 15ms}\n",
     "weir.yaml:6:21: error: 'slice' (20ms) can't be over 'stall' (15ms)"},
    {STAGE_A "    limits: {cpu: 40s}\n",
     "weir.yaml:6:19: error: 'cpu' (40s) can't be over 'wall' (30s by default)"},
    {STAGE_A "    limits: {memory: 10}\n",
     "weir.yaml:6:22: error: 'memory': expected a size from 64KiB to 1TiB, found '10'"},
    {STAGE_A "    libs: safer\n",
     "weir.yaml:6:11: error: 'libs': expected safe, all or a list of libraries such as [string, table], "
     "found 'safer'"},
    {STAGE_A "    libs: [strin]\n",
     "weir.yaml:6:12: error: 'libs': expected safe, all, base, coroutine, string, table, math, utf8, os, "
     "debug, io or package, found 'strin' (did you mean 'string'?)"},
    {STAGE_A "    state: forget\n", "weir.yaml:6:12: error: 'state': expected keep or reset, found 'forget'"},
    {STAGE_A "    on_error: b\n",
     "weir.yaml:6:15: error: stage 'a' gives failed events to 'b', and there is no such stage"},
    {STAGE_A "    admission: {controller: code}\n",
     "weir.yaml:6:29: error: 'controller': expected response_time, codel, gradient or "
     "token_bucket, found 'code' (did you mean 'codel'?)"},
    {STAGE_A "    admission: {controller: codel, targt: 5ms}\n",
     "weir.yaml:6:36: error: unknown key 'targt' in 'admission' (did you mean 'target'?)"},
    {STAGE_A "    batch: {min: 1, max: 4, controller: {name: throughputs}}\n",
     "weir.yaml:6:48: error: 'name': expected throughput or none, found 'throughputs' (did you mean 'throughput'?)"},
    {STAGE_A "    admission: {controller: response_time, percentile: 101}\n",
     "weir.yaml:6:56: error: 'percentile': expected a number from 1 to 100, found '101'"},
    {STAGE_A "    batch: {min: 1, max: 4, controller: {limit: 4}}\n",
     "weir.yaml:6:41: error: 'controller': expected 'name' or 'script'"},
    {STAGE_A "    admission: {controller: token_bucket}\n",
     "weir.yaml:6:16: error: controller 'token_bucket' needs 'rate' (events a second)"},
    {STAGE_A "    admission: {target: 1s}\n",
     "weir.yaml:6:16: error: 'admission': expected 'controller' or 'script'"},
    {STAGE_A "    deadline: 1s\n", "weir.yaml:6:5: error: 'deadline' is not for a Lua stage (stage 'a')"},
    {STAGE_A "    pool: dsk\npools: {disk: {threads: 1}}\n",
     "weir.yaml:6:11: error: stage 'a' is in the pool 'dsk', and there is no such pool (did you mean "
     "'disk'?)"},
    {"weir: 1\npools: {disk: {threads: 1, blocking: true}}\nstages: {web: {source: http, pool: disk, listen: "
     "':80', to: n}, n: "
     "{sink: null}}\n",
     "weir.yaml:3:36: error: source 'web' can't be in the pool 'disk', which is blocking: sources need an "
     "event-driven pool"},
    {STAGE_A "defaults: {pool: x}\n",
     "weir.yaml:6:12: error: unknown key 'pool' in 'defaults' (known: queue, batch, concurrency, "
     "limits, libs)"},
    {STAGE_A "    queue: {order_by: user, fair_by: key}\n",
     "weir.yaml:6:38: error: 'fair_by: key' can't be had together with 'order_by: user': keys take turns, or "
     "keep their order over all workers, not both"},
    {STAGE_A "    queue: {fair_by: [a]}\n", "weir.yaml:6:22: error: 'fair_by': expected a name, found a list"},
    {STAGE_A "defaults: {queue: {fair_by: key}}\n",
     "weir.yaml:6:29: error: 'fair_by' belongs to a stage, not to 'defaults'"},
    {STAGE_A "defaults: {queue: {order_by: user}}\n",
     "weir.yaml:6:30: error: 'order_by' belongs to a stage, not to 'defaults'"},
    /* Outputs */
    {STAGE_A "    to: {page: pgae}\n  page: {sink: null}\n",
     "weir.yaml:6:16: error: stage 'a' sends 'page' to 'pgae', and there is no such stage (did you mean "
     "'page'?)"},
    {STAGE_A "    to: web\n",
     "weir.yaml:6:9: error: stage 'a' sends 'out' to 'web', which is a source: a source takes no events"},
    {STAGE_A "    to:\n",
     "weir.yaml:6:8: error: 'to': expected a stage, a list of stages or a map of ports, found nothing"},
    {STAGE_A "    to: {x: []}\n", "weir.yaml:6:13: error: port 'x' of stage 'a' has an empty list"},
    {STAGE_A "    to: {x: [n, n]}\n  n: {sink: null}\n",
     "weir.yaml:6:17: error: port 'x' of stage 'a' sends to 'n' twice"},
    {STAGE_A "    to: {X: n}\n  n: {sink: null}\n",
     "weir.yaml:6:10: error: the port name 'X' must begin with a-z or _"},
    {STAGE_A "    to: {x: {overflow: wait}}\n",
     "weir.yaml:6:13: error: 'x': expected a stage, or {stage: NAME, overflow: POLICY}"},
    {STAGE_A "    to: {x: {stage: n, overflow: lose}}\n  n: {sink: null}\n",
     "weir.yaml:6:34: error: 'overflow': expected reject, wait, drop_newest or drop_oldest, found 'lose'"},
    {STAGE_A "    to: {x: {stage: n, overflw: wait}}\n  n: {sink: null}\n",
     "weir.yaml:6:24: error: unknown key 'overflw' in 'x' (did you mean 'overflow'?)"},
    {STAGE_A "    to: {x: [[n]]}\n  n: {sink: null}\n",
     "weir.yaml:6:14: error: 'x': expected a stage, found a list"},
    /* The graph */
    {STAGE_A "  n: {sink: null}\n", "weir.yaml:6:3: error: no source reaches stage 'n': nothing sends to it"},
    {"weir: 1\nstages: {a: {handler: a.lua}}\n",
     "weir.yaml:2:10: error: no stage is a source: nothing would ever happen"},
    {STAGE_A "    to: {b: {stage: b, overflow: wait}}\n  b:\n    handler: a.lua\n    to: {a: {stage: a, "
             "overflow: wait}}\n",
     "weir.yaml:6:21: error: stages that wait for each other could wait for ever: a -> b -> a (give one of "
     "these edges or queues "
     "another overflow than wait)"},
    {STAGE_A "    queue: {overflow: wait}\n    to: a\n",
     "weir.yaml:7:9: error: stages that wait for each other could wait for ever: a -> a (give one of these "
     "edges or queues another "
     "overflow than wait)"},
    {STAGE_A
     "    queue: {overflow: wait}\n    to: b\n  b: {handler: a.lua, to: a, queue: {overflow: {route: c}}}\n"
     "  c: {handler: a.lua, to: a, queue: {overflow: wait}}\n",
     "weir.yaml:7:9: error: stages that wait for each other could wait for ever: a -> c -> a (give one of "
     "these edges or queues "
     "another overflow than wait)"},
    {STAGE_A
     "    queue: {overflow: wait}\n    to: b\n  b: {handler: a.lua, on_error: a, queue: {overflow: wait}}\n",
     "weir.yaml:7:9: error: stages that wait for each other could wait for ever: a -> b -> a (give one of "
     "these edges or queues "
     "another overflow than wait)"},
    {STAGE_A "    on_error: b\n  b: {sink: null, queue: {overflow: wait}}\n",
     "weir.yaml:6:15: error: stage 'a' gives failed events to 'b', whose queue has overflow wait, and a failed "
     "event can't wait: give that queue another overflow (edges to it may have one of their own)"},
    {STAGE_A "    on_error: b\n  b: {sink: null, queue: {overflow: {route: c}}}\n  c: {sink: null, queue: {overflow: wait}}\n",
     "weir.yaml:6:15: error: stage 'a' gives failed events to 'c', whose queue has overflow wait, and a failed "
     "event can't wait: give that queue another overflow (edges to it may have one of their own)"},
    {STAGE_A "    on_error: a\n",
     "weir.yaml:6:15: error: stages that give their failed events to each other: a -> a (an event that fails "
     "in each of them would go round for ever)"},
    {STAGE_A "    on_error: b\n  b: {handler: a.lua, on_error: a}\n",
     "weir.yaml:6:15: error: stages that give their failed events to each other: a -> b -> a (an event that fails "
     "in each of them would go round for ever)"},
    {STAGE_A "    queue: {overflow: {route: b}}\n  b: {sink: null, queue: {overflow: {route: a}}}\n",
     "weir.yaml:6:31: error: queues that route to each other: a -> b -> a (an event would go round when all "
     "are full)"},
};

static int differences;

/* Says what differs and goes on, so that one run shows every one; assert_no_difference fails the test. */
static void first_line_must_be(const struct fixture_result *r, const char *text, const char *line)
{
    size_t len = strcspn(r->report.data, "\n");
    if (strlen(line) == len && strncmp(line, r->report.data, len) == 0)
        return;
    print_error("for\n%s\nexpected\n%s\ngot\n%s\n", text, line, r->report.data);
    differences++;
}

static void assert_no_difference(void)
{
    int found = differences;
    differences = 0;
    assert_int_equal(found, 0);
}

static void each_mistake_has_its_line(void **state)
{
    (void)state;
    size_t count = sizeof mistakes / sizeof mistakes[0];
    assert_true(count >= 40);
    for (size_t i = 0; i < count; i++) {
        struct fixture_result r;
        fixture_parse(&r, mistakes[i].text, NULL, 0);
        assert_int_equal(r.code, WEIR_E_CONFIG);
        first_line_must_be(&r, mistakes[i].text, mistakes[i].line);
        fixture_done(&r);
    }
    assert_no_difference();
}

static void handler_files_must_be_files(void **state)
{
    (void)state;
    struct fixture_result r;
    char line[256];
    fixture_parse(&r, HEAD "  a: {handler: b.lua}\n", NULL, 0);
    snprintf(line, sizeof line,
             "weir.yaml:4:16: error: stage 'a' has the handler 'b.lua', and there is no such file (%s/b.lua)",
             fixture_folder);
    first_line_must_be(&r, "b.lua", line);
    fixture_done(&r);
    fixture_parse(&r, HEAD "  a: {handler: sub}\n", NULL, 0);
    snprintf(line, sizeof line,
             "weir.yaml:4:16: error: stage 'a' has the handler 'sub', and that is a folder (%s/sub)",
             fixture_folder);
    first_line_must_be(&r, "sub", line);
    fixture_done(&r);
    fixture_parse(&r, HEAD "  a: {handler: /dev/null}\n", NULL, 0);
    first_line_must_be(&r, "/dev/null",
                       "weir.yaml:4:16: error: stage 'a' has the handler '/dev/null', and that is not a "
                       "regular file (/dev/null)");
    fixture_done(&r);
    assert_no_difference();
}

static void a_report_is_sorted_and_complete(void **state)
{
    (void)state;
    struct fixture_result r;
    fixture_parse(
        &r,
        "weir: 1\npools:\n  disk: {threads: none}\nstages:\n  web: {source: http, listen: ':80', to: a}\n"
        "  a:\n    handler: a.lua\n    pool: disc\n    admission: {controller: codel}\n    to:\n      page: "
        "pgae\n"
        "  page: {sink: null}\n",
        NULL, 0);
    assert_int_equal(r.code, WEIR_E_CONFIG);
    assert_string_equal(r.err.text, "weir.yaml: 3 errors");
    assert_string_equal(
        r.report.data,
        "weir.yaml:3:19: error: 'threads': expected a whole number or {min: , max: }, found 'none'\n"
        "        disk: {threads: none}\n"
        "                        ^\n"
        "weir.yaml:8:11: error: stage 'a' is in the pool 'disc', and there is no such pool (did you mean "
        "'disk'?)\n"
        "        pool: disc\n"
        "              ^\n"
        "weir.yaml:11:13: error: stage 'a' sends 'page' to 'pgae', and there is no such stage (did you mean "
        "'page'?)\n"
        "        page: pgae\n"
        "              ^\n");
    fixture_done(&r);
}

/* What stands for itself is told beside other mistakes, and what might follow from them is not. */
static void mistakes_elsewhere_do_not_hide_the_graph(void **state)
{
    (void)state;
    struct fixture_result r;
    fixture_parse(&r,
                  HEAD "  a: {handler: a.lua, to: {x: bb, y: Bad, z: c}, queue: {overflow: {route: d}}}\n"
                       "  b: {handler: a.lua, to: b, queue: {overflow: wait}}\n"
                       "  c: {sink: null, queue: {overflow: {route: nowhere}}}\n"
                       "  d: {sink: null, queue: {overflow: {route: a}}}\n"
                       "  Bad: {sink: null}\n",
                  NULL, 0);
    assert_string_equal(r.err.text, "weir.yaml: 4 errors");
    static const char *const told[] = {
        "weir.yaml:4:31: error: stage 'a' sends 'x' to 'bb', and there is no such stage",
        "weir.yaml:4:76: error: queues that route to each other: a -> d -> a",
        "weir.yaml:6:45: error: stage 'c' routes to 'nowhere'",
        "weir.yaml:8:3: error: the stage name 'Bad'",
    };
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        if (strstr(r.report.data, told[i]) == NULL)
            fail_msg("'%s' is not in:\n%s", told[i], r.report.data);
    fixture_done(&r);
    fixture_parse(&r,
                  HEAD "  a: {handler: a.lua, to: bb}\n"
                       "  b: {handler: a.lua, to: b, queue: {overflow: wait}}\n",
                  NULL, 0);
    assert_string_equal(r.err.text, "weir.yaml: 2 errors"); /* b may be meant by bb: it is not unreachable */
    assert_non_null(strstr(r.report.data, "stages that wait for each other could wait for ever: b -> b"));
    fixture_done(&r);
    fixture_parse(&r, STAGE_A "    pool: disk\npools: {1disk: {threads: 1}}\n", NULL, 0);
    assert_string_equal(r.err.text, "weir.yaml: 1 error");
    fixture_done(&r);
}

static void what_can_be_read_comes_with_the_mistakes(void **state)
{
    (void)state;
    struct fixture_result r;
    fixture_parse(&r,
                  HEAD "  a: {handler: a.lua, colour: red, pool: none}\n  b: {handler: b.lua}\n"
                       "  c: {handler: a.lua, libs: [strin]}\n",
                  NULL, 0);
    assert_int_equal(r.code, WEIR_E_CONFIG);
    assert_non_null(r.app);
    assert_int_equal(r.app->stage_count, 4);
    assert_string_equal(r.app->stages[1].what, "a.lua");
    assert_false(r.app->stages[1].script_unknown);
    assert_true(r.app->stages[2].script_unknown);
    assert_true(r.app->stages[3].script_unknown);
    fixture_done(&r);
}

static void very_many_problems_are_cut(void **state)
{
    (void)state;
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    struct fixture_result r;
    weir_strbuf_adds(&text, STAGE_A);
    for (int i = 0; i < 3000; i++)
        weir_strbuf_addf(&text, "k%d: 1\n", i);
    fixture_parse(&r, text.data, NULL, 0);
    assert_int_equal(r.code, WEIR_E_CONFIG);
    assert_string_equal(r.err.text, "weir.yaml: 3000 errors");
    size_t lines = 0;
    for (const char *at = r.report.data; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, 50 * 3 + 1);
    assert_string_equal(r.report.data + r.report.len - strlen("\nand 2950 more errors\n"),
                        "\nand 2950 more errors\n");
    weir_strbuf_fini(&text);
    fixture_done(&r);
}

struct set_mistake {
    const char *path, *value, *line;
};

static void mistakes_of_the_command_line_name_it(void **state)
{
    (void)state;
    static const struct set_mistake table[] = {
        {"stages.pgae.batch", "8",
         "--set stages.pgae.batch: error: there is no stage 'pgae' (did you mean 'page'?)"},
        {"stages.page.bacth", "8",
         "--set stages.page.bacth: error: unknown key 'bacth' in stage 'page' (did you mean 'batch'?)"},
        {"stages.page.batch", "many",
         "--set stages.page.batch: error: 'batch': expected a whole number or {min: , max: }, found 'many'"},
        {"stages.page.queue.capacity", "0",
         "--set stages.page.queue.capacity: error: 'capacity': expected a whole number from 1 to 16000000, "
         "found '0'"},
        {"stages.page.queue.capcity", "1",
         "--set stages.page.queue.capcity: error: unknown key 'capcity' in 'queue' (did you mean "
         "'capacity'?)"},
        {"stage.page.batch", "8",
         "--set stage.page.batch: error: unknown key 'stage' in the path (did you mean 'stages'?)"},
        {"pools.dsk.threads", "8", "--set pools.dsk.threads: error: there is no pool 'dsk'"},
        {"pools.mian.threads", "8",
         "--set pools.mian.threads: error: there is no pool 'mian' (did you mean 'main'?)"},
        {"stages.page.handler.x", "8",
         "--set stages.page.handler.x: error: 'handler' is a string here and has no keys to set"},
        {"", "8", "--set : error: expected a path such as stages.page.batch: a key is empty"},
        {"stages..x", "8",
         "--set stages..x: error: expected a path such as stages.page.batch: a key is empty"},
        {"stages.page.to", "[pgae",
         "--set stages.page.to: error: this is not YAML: did not find expected ',' or ']'"},
        {"stages.page.config", "{a: 1, a: 2}", "--set stages.page.config: error: the key 'a' is given twice"},
        {"name", "a\nb", "--set name: error: the value must be a single line of YAML"},
        {"stages.page.to", "pgae",
         "--set stages.page.to: error: stage 'page' sends 'out' to 'pgae', and there is no such stage (did "
         "you mean 'page'?)"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct fixture_result r;
        struct weir_app_override set = {table[i].path, table[i].value};
        fixture_parse(
            &r,
            "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: page}\n  page: {handler: page.lua}\n",
            &set, 1);
        assert_int_equal(r.code, WEIR_E_CONFIG);
        first_line_must_be(&r, table[i].path, table[i].line);
        fixture_done(&r);
    }
    assert_no_difference();
    struct fixture_result r;
    struct weir_app_override set = {"stages.page.batch", "  many"};
    fixture_parse(
        &r, "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: page}\n  page: {handler: page.lua}\n",
        &set, 1);
    assert_non_null(strstr(r.report.data, "\n        many\n        ^\n"));
    fixture_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_has_its_line),
        cmocka_unit_test(handler_files_must_be_files),
        cmocka_unit_test(a_report_is_sorted_and_complete),
        cmocka_unit_test(mistakes_elsewhere_do_not_hide_the_graph),
        cmocka_unit_test(what_can_be_read_comes_with_the_mistakes),
        cmocka_unit_test(very_many_problems_are_cut),
        cmocka_unit_test(mistakes_of_the_command_line_name_it),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
