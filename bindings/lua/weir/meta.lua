---@meta weir
-- Editor types of `require "weir"` (LuaCATS, as lua-language-server reads them). Never run: point your
-- editor's workspace library here.
-- longer than 600 lines because a module has one file of types.
-- tests/spec/lua/meta_spec.lua holds it against the binding, both ways.

-- luacheck: ignore 212 241 (declarations only)

---What an event may carry: nil, booleans, integers, floats, strings (any bytes), tables of these, and one request.
---Tables may nest 30 levels deep; keys are strings, numbers or booleans; a value is at most 16 MiB. Metatables
---do not travel.
---@alias weir.Value nil|boolean|integer|number|string|table|weir.Request

---Why an emit was refused. `full`: the queue has no room; `rejected`: admission control; `expired`: the
---deadline has passed;
---`closed`: the host is stopping; `memory`: the host is out of it.
---@alias weir.Refusal "full"|"rejected"|"expired"|"closed"|"memory"

---Why a wait for a client failed: it has gone, it was too slow, it sent more than the source allows.
---@alias weir.ClientFailure "closed"|"timeout"|"limit"

---@class weir
---@field version string of the host, "0.1.0"
local weir = {}

---@class weir.EmitOptions
---@field class? string a class of `classes:` in weir.yaml; default: that of the event being handled
---@field deadline? number seconds from now; default: that of the event being handled
---@field key? string|number|boolean with `order_by: key`, events of one key are handled in order
---@field call? boolean|integer the duty to answer the call that is being handled (in a batch: which event) moves with this event

---Gives `event` to the stage that `port` is wired to. A request in it moves along: its handle here is of no
---use afterwards, unless
---the emit is refused. Suspends the call while a target with `overflow: wait` is full. Raises on an unknown
---port, and on a value that can't
---travel: `event.items[3].cb: a function can't be sent`.
---@param port string
---@param event weir.Value
---@param options? weir.EmitOptions
---@return true? ok
---@return weir.Refusal|"cycle"|nil reason
function weir.emit(port, event, options) end

---Several events, `{port, event [, options]}` each, that are all accepted or none. At most one carries a request. A full
---queue refuses them whatever its `overflow` says; on an edge with `overflow: wait` the call is suspended until all have room.
---@param parts table[]
---@return true? ok
---@return weir.Refusal|"cycle"|nil reason
function weir.emit_all(parts) end

---Why there is no answer. `unanswered`: the handler returned without one; `failed`: it failed; `dropped`: a `drop_*` policy
---or a shutdown took the event; `expired`: it was too old before it was handled; `timeout`: the time is over; `cycle`: that
---stage waits for the answer to what is being handled; else the queue refused it.
---@alias weir.CallFailure weir.Refusal|"unanswered"|"failed"|"dropped"|"timeout"|"cycle"

---Sends `value` as weir.emit does and suspends the call until the receiver has given its answer by weir.answer. Raises
---on a port that goes to several stages and on a request in `value`.
---@param port string
---@param value weir.Value
---@param timeout? number seconds; default: what is left of the deadline of the event being handled, or of `limits.wall`
---@return weir.Value answer
---@return weir.CallFailure? reason nil: there is an answer, which may be nil
function weir.call(port, value, timeout) end

---Answers the weir.call that the event being handled came by. Raises when it did not come by one, or was passed on.
---@param value? weir.Value no request in it
---@param index? integer in a batch: which event; default 1
---@return true? ok
---@return "gone"|"answered"|"memory"|nil reason `gone`: the caller waits no longer
function weir.answer(value, index) end

---@class weir.Meta
---@field id integer unique in this process
---@field class string
---@field deadline? number seconds left; negative when it has passed; nil: none
---@field key? string|number|boolean the key given by emit; nil: none
---@field source integer which stream of which source (a connection) it comes from
---@field age number seconds since the source made the first event of this line of work
---@field trace? string W3C traceparent; nil: none

---What a file for `class: {script: …}` of a source returns; nil: the default class. It runs in place: it can neither wait nor send.
---@alias weir.Classifier fun(req: weir.Request): string?

---Which queue or gate refused or dropped a request, and why.
---@class weir.Refusal
---@field reason string as in `weir stats`: "full", "gate", "shed", …
---@field stage? string
---@field status integer 503
---@field retry_after number seconds after which there may be room

---What a file for `on_reject` of a source returns: answers with req:reply, or leaves it to the host. It runs in place.
---@alias weir.OnReject fun(req: weir.Request, why: weir.Refusal)

---Of the event being handled. Raises outside a handler call.
---@param index? integer in a batch: which event; default 1
---@return weir.Meta
function weir.meta(index) end

---Seconds on a clock that only goes forward; for measuring.
---@return number
function weir.now() end

---Seconds since 1970.
---@return number
function weir.time() end

---Why something in the world failed, as a name: of the system (`ECONNREFUSED`, `ENOENT`, …), or `TIMEOUT`,
---`ENOTFOUND`, `TRUNCATED`, `TOO_LARGE`, `EOF`, `BAD_URL`, `BAD_ANSWER`, `TOO_MANY_REDIRECTS`, `TLS_HANDSHAKE`,
---`CERT_UNTRUSTED`, `CERT_NAME_MISMATCH`, `CERT_EXPIRED`.
---@alias weir.Code string

---Suspends the call. Other calls of the worker go on.
---@param seconds number
function weir.sleep(seconds) end

---Begins `fn(...)` in the background; it has no event. In init too, for what is to run as long as the stage does.
---@param fn function
---@param ... any
---@return true? ok
---@return "full"|nil reason as many run as the stage's `concurrency` allows
function weir.fiber(fn, ...) end

---Has `fn` called once the call that is running has ended, however it ends.
---@param fn function
function weir.defer(fn) end

---@class weir.Timer
local Timer = {}

---@return boolean was_set whether it was still to fire
function Timer:cancel() end

---Calls `fn` as a fiber after `seconds`, and each time again with `every`.
---@param seconds number
---@param fn function
---@param options? {every: boolean?}
---@return weir.Timer
function weir.timer(seconds, fn, options) end

---@class weir.HttpOptions
---@field url string http or https
---@field method? string default: GET, or POST with a body
---@field headers? table<string, string>
---@field body? string|fun(): string? a function gives chunk after chunk, nil: the end; it may suspend
---@field body_size? integer of a body that a function gives; nil: sent in chunks
---@field stream? boolean the answer comes with its head, its body is read by answer:read
---@field timeout? number seconds for all of it, default 30; 0: none
---@field connect_timeout? number
---@field idle_timeout? number seconds without a byte; whole ones
---@field redirects? integer followed at most, default 5
---@field max_body? integer bytes of an answer that is not streamed; default: a quarter of limits.memory
---@field verify? boolean false: the server's certificate is not checked
---@field ca? string PEM file of authorities; paths are seen from the application's folder
---@field certificate? string PEM file, with `key`: what we show to the server
---@field key? string
---@field socket? string path of a unix socket to connect to
---@field class_header? string|boolean the header for the class of the event, when it is not the default one; default `X-Weir-Class`, false: none
---@field deadline_header? string|boolean the one for what is left of its time, in ms; default `X-Weir-Deadline-Ms`, false: none

---@class weir.HttpAnswer
---@field status integer
---@field headers table<string, string> names in lower case; repeated ones joined by ", "
---@field cookies string[] the Set-Cookie headers
---@field body? string unless it is streamed
local HttpAnswer = {}

---The next chunk of a streamed answer; nil: its end.
---@return string? chunk
---@return string? message
---@return weir.Code? code
function HttpAnswer:read() end

---Ends a streamed answer; also `local answer <close>`.
function HttpAnswer:close() end

---@class weir.http
weir.http = {}

---Suspends the call until the answer is there.
---@param options weir.HttpOptions|string options, or the URL to get
---@return weir.HttpAnswer? answer
---@return string? message
---@return weir.Code? code
function weir.http.request(options) end

---Of the worker, for all its stages: connections to one host (default 64), idle connections (default 256). The last call counts.
---@param limits {per_host: integer?, kept: integer?}
function weir.http.limits(limits) end

---Under which headers weir.http.request takes class and deadline along, of this script's requests that don't say it themselves; false: not at all.
---@param names {class_header: (string|boolean)?, deadline_header: (string|boolean)?}
function weir.http.pass_on(names) end

---@class weir.TlsOptions
---@field name? string what the peer's certificate must be for; default: the host
---@field ca? string
---@field certificate? string
---@field key? string
---@field verify? boolean

---A connection made by weir.tcp.connect. One call may read while another one writes. `local c <close>` closes it.
---@class weir.Connection
local Connection = {}

---What is there, so many bytes, or a line without its end.
---@param what? integer|"line"
---@param timeout? number
---@return string? data
---@return string? message
---@return weir.Code? code
function Connection:read(what, timeout) end

---Suspends the call while more than 256 KiB wait to be sent.
---@param data string
---@return true? ok
---@return string? message
---@return weir.Code? code
function Connection:write(data) end

---Our end: nothing more is written, reading goes on.
function Connection:shutdown() end

function Connection:close() end

---@class weir.tcp
weir.tcp = {}

---@param address string "host:port" or "unix:/path"
---@param options? {timeout: number?, tls: boolean|weir.TlsOptions|nil}
---@return weir.Connection? connection
---@return string? message
---@return weir.Code? code
---@overload fun(host: string, port: integer, options?: table): weir.Connection?, string?, weir.Code?
function weir.tcp.connect(address, options) end

---@class weir.dns
weir.dns = {}

---@param name string
---@param family? "any"|"ipv4"|"ipv6"
---@return string[]? addresses
---@return string? message
---@return weir.Code? code
function weir.dns.resolve(name, family) end

---Files, without holding up the worker. Paths are seen from the application's folder; with `libs: safe` nothing
---outside of it is reached.
---@class weir.fs
weir.fs = {}

---@param path string
---@param options? {max: integer?, offset: integer?, length: integer?} max: larger ones fail with EFBIG; default: a
--quarter of limits.memory -@return string? data
---@return string? message
---@return weir.Code? code
function weir.fs.read(path, options) end

---@param path string
---@param data string
---@param options? {append: boolean?, replace: boolean?, sync: boolean?, mode: integer?} replace: others see the old
--file or the new one -@return true? ok
---@return string? message
---@return weir.Code? code
function weir.fs.write(path, data, options) end

---@class weir.Stat
---@field type "file"|"folder"|"link"|"other"
---@field size integer
---@field modified number seconds since 1970
---@field mode integer

---@param path string
---@return weir.Stat? stat
---@return string? message
---@return weir.Code? code
function weir.fs.stat(path) end

---@param path string
---@return string[]? names in no order
---@return string? message
---@return weir.Code? code
function weir.fs.list(path) end

---A file or an empty folder.
---@param path string
---@return true? ok
---@return string? message
---@return weir.Code? code
function weir.fs.remove(path) end

---@param path string
---@return true? ok
---@return string? message
---@return weir.Code? code
function weir.fs.mkdir(path) end

---@param path string
---@param new string
---@return true? ok
---@return string? message
---@return weir.Code? code
function weir.fs.rename(path, new) end

---@class weir.SpawnOptions
---@field cmd string looked up in PATH
---@field args? string[]
---@field stdin? string default: nothing
---@field env? table<string, string> all that it gets; default: the host's
---@field cwd? string default: the application's folder
---@field timeout? number seconds; then TERM, 2 s later KILL, to its process group
---@field max_output? integer bytes of stdout and stderr together, default 1 MiB

---@class weir.Process
---@field status? integer its exit status
---@field signal? integer that ended it, instead
---@field stdout string
---@field stderr string

---Runs a program and waits for its end. Needs `libs: all`. It is ended with its call.
---@param options weir.SpawnOptions
---@return weir.Process? process
---@return string? message
---@return weir.Code? code
function weir.spawn(options) end

---A stage's counters, added up over all workers just now.
---@class weir.Stage
---@field stage string its name
---@field capacity integer events that its queue may hold
---@field capacity_bytes integer
---@field depth integer events waiting
---@field queued integer the same
---@field bytes integer of the waiting events
---@field running integer calls under way, suspended ones too
---@field waiting integer emits that wait for room
---@field offered integer accepted + rejected
---@field accepted integer
---@field rejected integer
---@field handled integer
---@field failed integer
---@field expired integer
---@field dropped integer
---@field unsettled integer moved while it was counted
---@field vm_bytes integer memory of its VMs
---@field rate number events handled a second, over the last second or so
---@field wait_p50 number seconds in the queue, over the last second or so; 0: there were no events
---@field wait_p90 number
---@field wait_p99 number
---@field service_p50 number seconds in the handler, likewise
---@field service_p90 number
---@field service_p99 number
---@field admission weir.Admission what its controllers let in now

---@class weir.Admission
---@field rate number? events a second, of all classes together; nil: any
---@field limit number? events queued and running, of the highest class; nil: any
---@field refused integer events that it has refused so far
---@field overloaded boolean a controller finds it overloaded
---@field classes table<string, weir.ClassAdmission>? by the class's name; nil: nothing is let in or refused by class here

---@class weir.ClassAdmission
---@field rate number? events a second; nil: any
---@field refused integer

---Of any stage of the application. Raises on an unknown one, and while the script is being loaded.
---@param stage string
---@return weir.Stage
function weir.queue(stage) end

---Of the own stage.
---@return weir.Stage
function weir.stage() end

---A table that all VMs of the application share; declared in weir.yaml under `shared:`. Raises on another name.
---Its methods can be used in init and in handlers, not while the script is being loaded.
---@param name string
---@return weir.Shared
function weir.shared(name) end

---@alias weir.SharedKey string|integer

---@class weir.SharedOptions
---@field ttl? number|false seconds to live; false: for ever; default: that of the table

---Keys are strings or integers; values are copied, both ways.
---@class weir.Shared
local Shared = {}

---@param key weir.SharedKey
---@return weir.Value value nil: there is none
function Shared:get(key) end

---nil deletes.
---@param key weir.SharedKey
---@param value weir.Value
---@param options? weir.SharedOptions
---@return true? ok
---@return "full"|"memory"|nil reason
function Shared:set(key, value, options) end

---Only when there is none.
---@param key weir.SharedKey
---@param value weir.Value
---@param options? weir.SharedOptions
---@return true? ok
---@return "exists"|"full"|"memory"|nil reason
function Shared:add(key, value, options) end

---Adds `by` (default 1) to what is there, else to `init` (default 0); the options count for a new entry only.
---@param key weir.SharedKey
---@param by? number
---@param init? number
---@param options? weir.SharedOptions
---@return number? sum
---@return "not a number"|"overflow"|"full"|"memory"|nil reason
function Shared:incr(key, by, init, options) end

---Puts `new` in the place of a value equal to `old`. nil as `old`: when there is none; as `new`: deletes.
---@param key weir.SharedKey
---@param old weir.Value
---@param new weir.Value
---@param options? weir.SharedOptions
---@return true? ok
---@return "changed"|"full"|"memory"|nil reason
---@return weir.Value current when it has changed
function Shared:cas(key, old, new, options) end

---@param key weir.SharedKey
---@return boolean deleted whether there was one
function Shared:delete(key) end

---@param key weir.SharedKey
---@return number? seconds math.huge: for ever; nil: there is none
function Shared:ttl(key) end

---It lives so long from now.
---@param key weir.SharedKey
---@param seconds number|false false: for ever
---@return boolean found
function Shared:expire(key, seconds) end

---@param max? integer
---@return weir.SharedKey[]
function Shared:keys(max) end

---`for key, value in t:pairs() do`: each 64th of the table as it was at one moment.
---@return fun(walk: userdata): weir.SharedKey?, weir.Value
---@return userdata walk
function Shared:pairs() end

---@return integer entries
---@return integer bytes
function Shared:size() end

function Shared:clear() end

---Suspends the call until the key is written, deleted or expires. With `known` it returns at once when the value is
---another already.
---@param key weir.SharedKey
---@param timeout? number seconds; nil: none
---@param known? weir.Value
---@return weir.Value value nil: deleted or expired
---@return "timeout"|"memory"|nil reason
function Shared:watch(key, timeout, known) end

---@class weir.MetricOptions
---@field help? string of the metric; that of the first who asks counts
---@field buckets? number[] histograms: ascending upper bounds

---@alias weir.Labels table<string, string|number|boolean>

---A metric in /metrics. A counter's name ends in `_total` there.
---@param name string
---@param labels? weir.Labels
---@param options? weir.MetricOptions
---@return weir.Counter
function weir.counter(name, labels, options) end

---@param name string
---@param labels? weir.Labels
---@param options? weir.MetricOptions
---@return weir.Gauge
function weir.gauge(name, labels, options) end

---@param name string
---@param labels? weir.Labels
---@param options? weir.MetricOptions
---@return weir.Histogram
function weir.histogram(name, labels, options) end

---@class weir.Counter
local Counter = {}

---@param n? number at least 0; default 1
function Counter:inc(n) end

---@class weir.Gauge
local Gauge = {}

---@param n number
function Gauge:set(n) end

---@param n? number may be negative; default 1
function Gauge:add(n) end

---@class weir.Histogram
local Histogram = {}

---@param n number seconds, when it is a time
function Histogram:observe(n) end

---@class weir.log
weir.log = {}

---@param message any
---@param fields? table written as JSON
function weir.log.debug(message, fields) end

---@param message any
---@param fields? table
function weir.log.info(message, fields) end

---@param message any
---@param fields? table
function weir.log.warn(message, fields) end

---@param message any
---@param fields? table
function weir.log.error(message, fields) end

---@class weir.json
---@field null lightuserdata JSON's null; in tables it travels in events, too
weir.json = {}

---Integers stay integers; a table of 1..n is an array, any other an object ({} too: see array). nil, message
---for what has no JSON.
---@param value any
---@return string? text
---@return string? message
function weir.json.encode(value) end

---null becomes weir.json.null. nil, message ("line 1 column 8: …") for what is not JSON, nests deeper than 128
---levels or has a key twice.
---@param text string
---@return any value
---@return string? message
function weir.json.decode(text) end

---Marks a table (default: a new one) as an array, so that an empty one is `[]`.
---@param t? table
---@return table t
function weir.json.array(t) end

---A request of an `http` source. It belongs to the call that handles its event until it is answered or
---emitted; if neither happens the host
---answers: 503 when its last emit was refused, else 500. Using it afterwards raises.
---@class weir.Request
---@field method string
---@field path string as sent, up to the question mark
---@field query string after the question mark; "" when there is none
---@field target string path and query as sent
---@field version string "1.1" or "1.0"
---@field scheme "http"|"https"
---@field tls? table what was agreed on, over TLS
---@field headers table<string, string> by name in any case; repeated ones are joined by ", "; pairs() goes through all
---@field body string raises when the source streams it (`body: stream`): use read
---@field remote string the client's address
---@field id integer
---@field class string
---@field vars table travels along with the request
local Request = {}

---Seconds since it arrived.
---@return number
function Request:age() end

---Whether the client is still there.
---@return boolean
function Request:alive() end

---@alias weir.Headers table<string, string|number|(string|number)[]>

---A peer's connection at a source `tcp`.
---@class weir.Conn
---@field id integer for weir.conn; weir.meta().source of its events
---@field remote string
---@field source string the stage it came in by
---@field tls table? what its TLS session agreed on
local Conn = {}

---Sends a frame, framed as the source cuts them; waits while the peer's buffer is full, if the source's `on_overflow` says so.
---@param frame string
---@return true? ok
---@return ("closed"|"full")? reason
function Conn:send(frame) end

---Sends bytes as they are; otherwise as `send`.
---@param bytes string
---@return true? ok
---@return ("closed"|"full")? reason
function Conn:write(bytes) end

function Conn:close() end

---Cuts it.
function Conn:abort() end

---The connection that the event being handled came from, or the one with that id.
---@param id? integer
---@return weir.Conn? conn
---@return "closed"? reason
function weir.conn(id) end

---@class weir.Answer
---@field status? integer 200 to 999; default 200
---@field headers? weir.Headers
---@field body? string|number
---@field file? string instead of a body: a file beneath `root`, with validators, ranges and its type
---@field root? string the folder that `file` is in; default: the application's

---Answers. Content-Length, Transfer-Encoding, Connection and Date are the host's.
---@param status integer
---@param headers? weir.Headers
---@param body? string|number
---@return true
---@overload fun(self: weir.Request, status: integer, body: string|number): true
---@overload fun(self: weir.Request, answer: weir.Answer): true
function Request:reply(status, headers, body) end

---Begins a streamed answer. A stream that is not closed is cut, so that the client sees that it is not
---complete: when the call that started it ends, in whatever way, or when it is left by `local s <close>`.
---@param status integer
---@param headers? weir.Headers
---@return weir.Stream
---@overload fun(self: weir.Request, answer: {status: integer?, headers: weir.Headers?}): weir.Stream
function Request:start(status, headers) end

---The next chunk of the body; nil at its end. Suspends the call until there is one. A whole body is one chunk.
---@return string? chunk
---@return weir.ClientFailure? reason
function Request:read() end

---@class weir.Stream
local Stream = {}

---Suspends the call while the client is slow. A closed stream answers nil, "closed".
---@param chunk string|number
---@return true? ok
---@return weir.ClientFailure? reason
function Stream:write(chunk) end

---Ends the answer. A stream that was cut, with the call that started it, answers nil, "closed".
---@return true? ok
---@return weir.ClientFailure? reason
function Stream:close() end

---What init gets.
---@class weir.Context
---@field config table `config:` of the stage in weir.yaml
---@field stage string
---@field worker integer
---@field generation integer

---What a handler file returns (or just the handle function). One of handle and handle_batch.
---@class weir.Handler
---@field init? fun(ctx: weir.Context) once per VM
---@field handle? fun(event: weir.Value)
---@field handle_batch? fun(events: {n: integer, [integer]: weir.Value}) an error fails the batch

---What a stage did for one class since a controller's last step.
---@class weir.ControllerClass
---@field name string
---@field offered number events
---@field refused number of them by the gate
---@field ended number
---@field response_s number percentile of the time from the arrival at the source to the end of the handler
---@field wait_s number percentile of the time in the queue

---What a controller's step gets: what a stage, or all stages of a pool, did since its last step.
---@class weir.ControllerSample
---@field now_s number monotonic
---@field elapsed_s number since the last step
---@field depth number events that wait
---@field capacity number the queue's bound
---@field running number events that are being handled
---@field offered number events, as those that follow
---@field accepted number
---@field handled number
---@field failed number
---@field expired number
---@field dropped number
---@field taken number left the queue to be handled
---@field wait_min_s number shortest time in the queue of the events taken
---@field wait_s number percentile of it
---@field service_s number mean time of a handler's call
---@field takes_batches boolean … which is that of a whole batch then
---@field threads number of the pool
---@field threads_min number
---@field threads_max number
---@field busy number share of their time that its workers were not parked
---@field can_grow boolean the pool's controller may still enlarge it
---@field idle_s number[] how long each parked worker has been so, longest first
---@field batch number of the stage
---@field batch_min number
---@field batch_max number
---@field classes weir.ControllerClass[] of a stage with admission; the highest first

---Where the knob stands. A step changes the fields of its knob; the others are not there. `math.huge`: no bound.
---@class weir.ControllerSetpoint
---@field threads number `threads` of a pool
---@field batch number `batch` of a stage
---@field rate number[]|number `admission`: events per second of each class, or of all
---@field burst number events of a class that may come at once
---@field limit number events queued and running
---@field share number[]|number what of the limit is for a class and those above it, 0 to 1
---@field shed_after_s number who waited for longer is dropped
---@field overloaded boolean queues with `order: adaptive` give the newest first

---What a controller's file returns (or just the step). The step returns the rule that decided; nil: nothing is changed.
---@class weir.Controller
---@field settings? table<string, any> defaults, which `config:` changes
---@field step fun(sample: weir.ControllerSample, at: weir.ControllerSetpoint, state: table, settings: table): string?

return weir
