---@meta weir.test
-- Editor types of `require "weir.test"`, in specs that `weir test` runs. As meta.lua: never run.
-- tests/spec/lua/meta_spec.lua holds it against the module, both ways.

-- luacheck: ignore 212 241 (declarations only)

---@class weir.test
---@field weir weir that of the specs
local t = {}

---@class weir.test.Clock
---@field now number what weir.now() says
t.clock = {}

---Lets time go by for all stages: what is due meanwhile happens at its own moment.
---@param seconds number
function t.clock:advance(seconds) end

---@class weir.test.TapEvent
---@field event any
---@field options weir.test.SendOptions
---@field stage string

---What `weir tap STAGE --save FILE` has saved.
---@param path string
---@return weir.test.TapEvent[]
function t.events(path) end

---A request as a client would send it. It is handled once.
---@class weir.test.Request

---@class weir.test.RequestSpec
---@field method? string default: GET, or POST with a body
---@field path? string default: "/"
---@field query? string
---@field target? string instead of path and query
---@field headers? table<string, string|string[]>
---@field body? string
---@field json? any its body, encoded
---@field remote? string the client's address; default: 127.0.0.1
---@field version? string "1.1" or "1.0"
---@field stream? boolean handed over before its body has come, as `body: stream` does

---@param spec? weir.test.RequestSpec|string all of it, or the path
---@return weir.test.Request
function t.request(spec) end

---What a client has of its answer.
---@class weir.test.Answer
---@field status integer
---@field reason string
---@field headers table<string, string> by lower-case name
---@field body string as far as it has come
---@field chunks? string[] of a streamed answer
---@field complete boolean
---@field cut boolean the connection ended before it was complete

---@class weir.test.Emitted
---@field port string
---@field event any
---@field stage string the sink that recorded it
---@field class string
---@field key? string|number|boolean
---@field deadline? number seconds that were left

---What became of an event. finish() looks again, after time went by.
---@class weir.test.Result
---@field emitted weir.test.Emitted[] in the order of the emits
---@field answer? weir.test.Answer of the request in the event
---@field answers weir.test.Answer[] of all requests in a batch
---@field failed? {reason: string, error: string, stage: string}
---@field expired boolean
---@field refused? string why the queue did not take it
---@field pending boolean whether something sleeps or waits still
local Result = {}

---@return weir.test.Result self
function Result:finish() end

---The events of one port.
---@param port string
---@return any[]
function Result:from(port) end

---The client goes before it has its answer.
---@return weir.test.Result self
function Result:hang_up() end

---Lets real time go by until nothing runs any more.
---@param seconds number at most
---@return boolean rests
function Result:wait(seconds) end

---@class weir.test.SendOptions
---@field class? string
---@field deadline? number seconds
---@field key? string|number|boolean

---What the ledger of a stage says.
---@class weir.test.Ledger
---@field offered integer
---@field accepted integer
---@field rejected integer
---@field handled integer
---@field failed integer
---@field expired integer
---@field dropped integer
---@field queued integer
---@field running integer
---@field waiting integer
---@field reasons table<string, integer>
---@field emitted table<string, integer> by port

---One stage with sinks that record, at each of its ports.
---@class weir.test.Stage
local Stage = {}

---@param event any a request, or a table with one, too
---@param options? weir.test.SendOptions
---@return weir.test.Result
function Stage:handle(event, options) end

---@param events any[] that come as one batch
---@param options? weir.test.SendOptions
---@return weir.test.Result
function Stage:handle_batch(events, options) end

---Handles each event of a tap.
---@param events string|weir.test.TapEvent[] a file of `weir tap --save`, or what t.events made of one
---@return weir.test.Result[]
function Stage:replay(events) end

---What happened since: what timers and fibers emitted.
---@return weir.test.Result
function Stage:pump() end

---@return weir.test.Ledger
function Stage:ledger() end

---@return integer bytes
function Stage:memory() end

function Stage:close() end

---@class weir.test.StageOptions
---@field ports? string[] default: those that the script names in its emits, and `out`
---@field on_error? boolean records failed events as those of a port `on_error`
---@field libs? string|string[]
---@field limits? table
---@field queue? table
---@field batch? integer
---@field concurrency? integer

---@param file string
---@param config? table
---@param options? weir.test.StageOptions
---@return weir.test.Stage
function t.stage(file, config, options) end

---An application in process: its sources open nothing, its sinks record.
---@class weir.test.App
local App = {}

---@param path? string default: "."
---@param sets? table<string, any> as for --set
---@return weir.test.App
function t.app(path, sets) end

---To a source, which sends it on as if it had made it, or into the queue of any stage.
---@param stage string
---@param event any
---@param options? weir.test.SendOptions
---@return weir.test.Result
function App:send(stage, event, options) end

---@param source string
---@param event weir.test.Request
---@param options? weir.test.SendOptions
---@return weir.test.Result
function App:request(source, event, options) end

---As send, but nothing runs yet.
---@param stage string
---@param event any
---@param options? weir.test.SendOptions
---@return weir.test.Result
function App:offer(stage, event, options) end

---@return weir.test.App self
function App:run() end

---@param seconds number of real time, at most
---@return boolean rests
function App:wait(seconds) end

---These stages take nothing until they are released.
---@param ... string
function App:hold(...) end

---@param ... string
---@return weir.test.App self
function App:release(...) end

---The events that wait there, oldest first.
---@param stage string
---@return any[]
function App:queued(stage) end

---What came to sinks and no result has told.
---@param sink? string
---@return weir.test.Emitted[]
function App:arrived(sink) end

---@param stage string
---@return weir.test.Ledger
function App:ledger(stage) end

---@return {number: integer, stage: string, reason: string, error: string}[] failures newest first
function App:failures() end

---@param stage string
---@return integer bytes
function App:memory(stage) end

function App:close() end

-- ---- faults ----

---@class weir.test.fault
t.fault = {}

---The next `n` emits to the port (default: all) are refused: "full".
---@param target weir.test.Stage|weir.test.App
---@param port string
---@param n? integer
function t.fault.full(target, port, n) end

---The same: "closed".
---@param target weir.test.Stage|weir.test.App
---@param port string
---@param n? integer
function t.fault.closed(target, port, n) end

---No more refusals.
---@param target weir.test.Stage|weir.test.App
function t.fault.none(target) end

---What a fake returns to fail so.
---@param code weir.Code
---@param message? string
---@return nil
---@return string message
---@return weir.Code code
function t.fault.error(code, message) end

---@return nil
---@return string message
---@return weir.Code code
function t.fault.timeout() end

-- ---- the outside ----

---@class weir.test.HttpFake
---@field status? integer default: 200
---@field headers? table<string, string>
---@field cookies? string[]
---@field body? string
---@field chunks? string[] of a streamed answer
---@field delay? number seconds

---Each replaces functions of all stages until none(); nil: the real ones again.
---@class weir.test.fake
t.fake = {}

function t.fake.none() end

---A function, or answers by URL.
---@param answer (fun(request: weir.HttpOptions): weir.test.HttpFake?, string?, weir.Code?)|table<string, weir.test.HttpFake>|nil
function t.fake.http(answer) end

---@alias weir.test.Resolve fun(name: string, family: string?): string|string[]|nil, string?, weir.Code?

---@param names table<string, string|string[]>|weir.test.Resolve|nil
function t.fake.dns(names) end

---@param files table<string, string>? by path; changes as the stage writes
---@return table<string, string>? files
function t.fake.fs(files) end

---What weir.call(port, value) gets; without it such a call is pending.
---@param port string
---@param answer? fun(value: any): any, string?
function t.fake.call(port, answer) end

---The other side of a weir.tcp.connect.
---@class weir.test.Peer
---@field host string
---@field port integer
local Peer = {}

---@param n? integer|"line"|"some" bytes; default: a line
---@return string? text nil: the stage has closed
function Peer:read(n) end

---@param text string
function Peer:write(text) end

function Peer:close() end

function Peer:reset() end

---@param serve? fun(peer: weir.test.Peer): nil, string?, weir.Code? it may refuse the connection
function t.fake.tcp(serve) end

return t
