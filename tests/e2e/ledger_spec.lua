-- Nothing is ever lost silently: what clients saw is held against what the stages counted, under load, faults and stops.
local json = require "cjson"
local app = require "tests.e2e.ledger_app"
local ledger = require "tests.e2e.ledger"
local support = require "tests.e2e.support"
local swarm = require "tests.e2e.swarm"

local get, reason = support.get, ledger.reason
local CONNECTIONS <const> = 64
local sanitized = (os.getenv("WEIR_PRESET") or ""):find("san") ~= nil

-- Paths of the application; those of stages that are full now and then come more often.
local paths = {"reject", "reject?tell", "reject?tell", "wait", "newest", "newest", "oldest", "oldest", "overflow", "overflow",
    "old", "late?tell", "late?tell", "bytes", "bytes", "copies", "copies/raise", "batch", "raise", "raise/1", "raise/2",
    "raise/3", "raise/4", "raise/5", "raise/6", "raise/7", "raise/8", "silent", "hungry", "hungry/rep", "hungry/table",
    "hungry/deep", "hungry/caught", "order", "plain", "twice", "twice"}

local function start(...)
    local host = support.start(app, {args = {...}})
    host.admin = host.folder .. "/../run/weir/ledger.sock"
    return host
end

-- A target that no other request has.
local function target(connection, number)
    local path = paths[(connection * 7 + number * 11) % #paths + 1]
    return ("/%s%sc=%d&n=%d"):format(path, path:find("?", 1, true) and "&" or "?", connection, number)
end

-- How many of the answers `is` holds for.
local function count(seen, is)
    local n = 0
    for _, a in ipairs(seen) do
        if is(a, a.target:match("^/(%l+)")) then
            n = n + 1
        end
    end
    return n
end

local function count_kind(seen, wanted, status)
    return count(seen, function(a, kind)
        return kind == wanted and a.status == status
    end)
end

-- The answer is that of its own request, with a status that its stage can have.
local function check_answer(a)
    local may = {reject = {503}, newest = {503}, oldest = {503}, overflow = {503}, old = {504}, late = {503, 504}, bytes = {503},
        twice = {503}, silent = {500}, raise = {500}, hungry = {500}}
    local kind = a.target:match("^/(%l+)")
    if a.headers["x-target"] then
        assert.equal(a.target, a.headers["x-target"])
    end
    if a.status == 200 then
        assert.equal(a.target, a.headers["x-target"])
        assert.is_not_equal("it did not raise\n", a.target:find("^/raise/%d") and a.body, a.target)
        assert.falsy(a.target:find("^/hungry/[rtd]"), a.target)
    else
        local fits = false
        for _, status in ipairs(may[kind] or {}) do
            fits = fits or a.status == status
        end
        assert.is_true(fits, ("%s: %d"):format(a.target, a.status))
        assert.falsy(a.target:find("^/raise%?") or a.target:find("^/hungry%?") or a.target:find("^/hungry/c"), a.target)
    end
end

-- What became of events where, and how often clients saw the like. Exact: no client left early.
local function compare(seen, stats)
    local stages, http = stats.stages, stats.stages.web.http
    local told = count(seen, function(a) return a.headers["x-refused"] ~= nil end)
    local refused = count(seen, function(a) return a.status == 503 end)
    local function by_stage(name)
        return count(seen, function(a) return a.headers["x-stage"] == name end)
    end
    local function retried(a, kind) -- refused by `reject`, then offered to `newest`
        return kind == "twice" and a.headers["x-stage"] ~= "reject"
    end
    local pairs_of = {
        {"requests", http.requests, #seen},
        {"answers", ledger.answers(http), #seen},
        {"route", stages.route.ledger.handled, #seen},
        {"full at reject", reason(stats, "reject", "rejected", "full"), count_kind(seen, "reject", 503) + count(seen, retried)},
        {"dropped by newest", reason(stats, "newest", "dropped", "newest"),
            count_kind(seen, "newest", 503) + count_kind(seen, "twice", 503)},
        -- It refuses when all that wait are on their way to another worker: there is none to drop.
        {"dropped by oldest", reason(stats, "oldest", "dropped", "oldest") + reason(stats, "oldest", "rejected", "full"),
            count_kind(seen, "oldest", 503)},
        {"routed", reason(stats, "overflow", "rejected", "routed"), stages.spare.ledger.offered},
        {"full at spare", reason(stats, "spare", "rejected", "full"), count_kind(seen, "overflow", 503)},
        {"too old", reason(stats, "old", "expired", "max_age"), count_kind(seen, "old", 504)},
        {"late in the queue", reason(stats, "late", "expired", "deadline"), count_kind(seen, "late", 504)},
        {"late before the queue", reason(stats, "late", "rejected", "expired"), count_kind(seen, "late", 503)},
        {"too many bytes", reason(stats, "bytes", "rejected", "bytes"), count_kind(seen, "bytes", 503)},
        {"raised", reason(stats, "raise", "failed", "error"), count_kind(seen, "raise", 500)},
        {"out of memory", reason(stats, "hungry", "failed", "memory"), count_kind(seen, "hungry", 500)},
        {"a copy", stages.copy_a.ledger.offered, count_kind(seen, "copies", 200)},
        {"the other copy", stages.copy_b.ledger.offered, stages.copy_a.ledger.offered},
        {"the third copy", stages.nothing.ledger.handled, stages.copy_a.ledger.offered},
        {"verdicts on copies", reason(stats, "copy_a", "rejected", "full"),
            count(seen, function(a) return a.headers["x-verdict"] == "full" end)},
        {"in order", stages.order.ledger.handled, 21 * count_kind(seen, "order", 200)},
        {"collected", stages.collect.ledger.handled, stages.order.ledger.handled},
        {"unanswered", http.unanswered, count_kind(seen, "silent", 500)},
        {"failed", http.failed, count_kind(seen, "raise", 500) + count_kind(seen, "hungry", 500)},
        {"overloaded", http.overloaded, refused - told},
        {"expired", http.expired, count(seen, function(a) return a.status == 504 end)},
        {"gone", http.gone, 0},
    }
    for _, name in ipairs {"reject", "wait", "newest", "oldest", "overflow", "spare", "old", "late", "bytes"} do
        table.insert(pairs_of, {"handled by " .. name, stages[name].ledger.handled, by_stage(name)})
    end
    for _, pair in ipairs(pairs_of) do
        assert.equal(pair[3], pair[2], pair[1])
    end
end

-- Every way in which an event of the application can end has been taken.
local function all_taken(stats)
    local ways = {{"reject", "rejected", "full"}, {"newest", "dropped", "newest"}, {"oldest", "dropped", "oldest"},
        {"overflow", "rejected", "routed"}, {"spare", "rejected", "full"}, {"old", "expired", "max_age"},
        {"late", "rejected", "expired"}, {"late", "expired", "deadline"}, {"bytes", "rejected", "bytes"},
        {"raise", "failed", "error"}, {"hungry", "failed", "memory"}, {"copy_a", "failed", "error"}}
    for _, way in ipairs(ways) do
        if reason(stats, table.unpack(way)) == 0 then
            return nil, table.concat(way, " ")
        end
    end
    return true
end

-- A load that wrk makes until it is waited for; the function returned waits and returns what wrk said.
local function wrk(host, seconds, connections)
    local list = {}
    for i, path in ipairs(paths) do
        list[i] = ("%q"):format("/" .. path)
    end
    support.write(host.folder .. "/../mix.lua", ([[
local paths = {%s}
local i = 0
function request()
    i = i + 1
    return wrk.format("GET", paths[i %% #paths + 1])
end
]]):format(table.concat(list, ", ")))
    local pipe = assert(io.popen(("wrk -t1 -c%d -d%ds -s %s/../mix.lua http://127.0.0.1:%d/ 2>&1"):format(connections, seconds,
        host.folder, host.port)))
    return function()
        local said = pipe:read("a")
        pipe:close()
        return said
    end
end

-- Clients that do not wait for their answer.
local function leave_early(host, rounds)
    for round = 1, rounds do
        for i, path in ipairs(paths) do
            local client = support.connect(host.port)
            local text = get("/" .. path)
            if (round + i) % 4 == 0 then
                text = text:sub(1, #text // 2)
            elseif (round + i) % 4 == 1 then
                text = text:rep(5)
            end
            client:send(text)
            if i % 2 == 0 then
                client:reset()
            else
                client:close()
            end
        end
    end
end

-- The lines of the access log by target.
local function logged(host)
    local lines = {}
    for line in (support.read(host.folder .. "/access.log") or ""):gmatch("[^\n]+") do
        local entry = json.decode(line)
        assert.is_nil(lines[entry.target], "two answers to " .. entry.target)
        lines[entry.target] = entry
    end
    return lines
end

describe("the ledger", function()
    after_each(support.clean)

    it("is exactly what the clients saw", function()
        local host = start()
        local all, taken, missing = {}, nil, nil
        for round = 0, 9 do -- once is enough, unless a queue was never full
            local seen, ends = swarm.run {port = host.port, connections = CONNECTIONS, target = function(c, n)
                return n <= 2 * #paths and target(c, n + round * 1000) or nil
            end}
            assert.same({}, ends)
            assert.equal(CONNECTIONS * 2 * #paths, #seen)
            for _, a in ipairs(seen) do
                check_answer(a)
                all[#all + 1] = a
            end
            local stats = ledger.closed(host.admin)
            compare(all, stats)
            taken, missing = all_taken(stats)
            if taken then
                break
            end
        end
        assert.is_true(taken, "this never happened: " .. tostring(missing))
        assert.equal(0, host:stop())
        local lines, n = logged(host), 0
        for _ in pairs(lines) do
            n = n + 1
        end
        assert.equal(#all, n)
        for _, a in ipairs(all) do
            assert.equal(a.status, lines[a.target] and lines[a.target].status, a.target)
        end
    end)

    it("closes after overload, resets and half requests", function()
        local host = start()
        local finish = wrk(host, 2, 48)
        leave_early(host, 10)
        local said = finish()
        leave_early(host, 2)
        local answered = tonumber(said:match("(%d+) requests in"))
        assert.truthy(answered and answered > 100, said)
        assert.falsy(said:find("Socket errors", 1, true), said)
        local stats = ledger.closed(host.admin)
        local http = stats.stages.web.http
        assert.equal(http.requests, stats.stages.route.ledger.offered)
        assert.equal(0, stats.stages.route.ledger.rejected)
        assert.equal(0, stats.stages.collect.ledger.failed)
        assert.is_true(http.gone > 0)
        assert.is_true(http.requests >= answered)
        -- One answer a request; one whose client left may have none.
        assert.is_true(ledger.answers(http) <= http.requests)
        assert.is_true(ledger.answers(http) + http.gone >= http.requests)
        support.wait(10, "the end of all connections", function()
            return ledger.stats(host.admin).stages.web.http.connections == 0
        end)
        assert.equal(200, support.ask(host.port, get("/plain?")).status)
        assert.equal(0, host:stop())
    end)

    it("goes on in a fresh VM after one that ran out of memory, or used what it may not", function()
        local host = start("--set", "pools.other.threads=1")
        local client = support.connect(host.port)
        local function status(path)
            client:send(get(path))
            return client:answer().status
        end
        local before
        for round = 1, 50 do
            if round == 10 then
                before = host:memory("VmRSS")
            end
            for _, path in ipairs {"/hungry/rep?", "/hungry/table?", "/hungry/deep?", "/raise/4?", "/raise/6?"} do
                assert.equal(500, status(path), path)
                assert.equal(200, status(path:match("^/%l+") .. "?"), "after " .. path)
            end
            assert.equal(200, status("/hungry/caught?"))
        end
        local stats = ledger.closed(host.admin)
        assert.equal(150, reason(stats, "hungry", "failed", "memory"))
        assert.equal(200, stats.stages.hungry.ledger.handled)
        assert.is_true(stats.stages.hungry.vm_bytes <= 1024 * 1024)
        if not sanitized then
            assert.is_true(host:memory("VmRSS") - before < 8 * 1024, "it grew")
        end
        local log = host:stderr()
        assert.truthy(log:find("io.open is not in libs: safe", 1, true))
        local lines, times = select(2, log:gsub("was replaced", "")), stats.uptime_s
        assert.is_true(lines >= 1 and lines <= times + 2, ("%d lines in %g s of VMs replaced"):format(lines, times))
        client:close()
        assert.equal(0, host:stop())
    end)

    it("answers everything that is in when it is told to stop under load", function()
        local host = start()
        local finish = wrk(host, 1, 16)
        local stopped
        local seen, ends = swarm.run {port = host.port, connections = 48, target = target, tick = function(answers)
            if answers > 1500 and not stopped then
                stopped = host:signal("TERM")
            end
        end}
        assert.equal(0, host:wait(30))
        finish()
        assert.is_true(#seen >= 1500)
        local answers = {}
        for _, a in ipairs(seen) do
            check_answer(a)
            answers[a.target] = a
        end
        assert.is_true(#ends >= 48)
        -- A request that had no answer was never taken in: it came while its connection was being closed.
        local lines = {}
        for line in support.read(host.folder .. "/access.log"):gmatch("[^\n]+") do
            local entry = json.decode(line)
            if entry.target:find("[?&]c=") then
                lines[entry.target] = entry
                assert.equal(entry.status, answers[entry.target] and answers[entry.target].status, "lost: " .. line)
            end
        end
        for wanted in pairs(answers) do
            assert.truthy(lines[wanted], "not in the log: " .. wanted)
        end
        for _, e in ipairs(ends) do
            if e.after_close then
                assert.equal("closed", e.why)
            else
                assert.is_nil(lines[e.target])
                assert.equal("", e.rest, "half an answer to " .. e.target)
            end
        end
        assert.falsy(host:stderr():find("before everything was finished", 1, true))
    end)

    it("answers what waits with 503 at a second signal, says what it left, and exits 1", function()
        local host = support.start {
            ["weir.yaml"] = "weir: 1\nname: slow\npools: {slow: {threads: 1, blocking: true}}\nstages:\n"
                .. "  web: {source: http, listen: '127.0.0.1:0', to: work}\n  work: {handler: work.lua, pool: slow, batch: 1, libs: all}\n",
            ["work.lua"] = "return function(req)\n    os.execute('sleep 3') -- can't be interrupted\n    req:reply(200, 'done')\nend\n",
        }
        local admin = host.folder .. "/../run/weir/slow.sock"
        local clients = {}
        for i = 1, 10 do
            clients[i] = support.connect(host.port)
            clients[i]:send(get("/"))
        end
        support.wait(10, "all requests in", function()
            local l = ledger.stats(admin).stages.work.ledger
            return l.accepted == 10 and l.running >= 1
        end)
        host:signal("TERM")
        support.wait(10, "draining", function()
            return ledger.stats(admin).state == "draining"
        end)
        host:signal("TERM")
        local statuses = {}
        for _, client in ipairs(clients) do
            local a = client:answer()
            local status = a and tostring(a.status) or "none"
            statuses[status] = (statuses[status] or 0) + 1
            assert.is_true(client:is_closed())
            client:close()
        end
        -- Only the call that goes on for 3 s can't be answered for, and the log says so.
        assert.same({["503"] = 9, none = 1}, statuses)
        assert.equal(1, host:wait(10))
        assert.truthy(host:stderr():find("a handler does not come back", 1, true))
    end)
end)
