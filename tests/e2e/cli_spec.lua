-- The commands: what they print, on which stream, and their exit codes.
local program = require "tests.e2e.program"
local json = require "cjson"

local app = [[
weir: 1
name: shop
pools:
  main: {threads: 2}
  disk: {threads: 1, blocking: true}
stages:
  web: {source: http, listen: "127.0.0.1:0", deadline: 5s, to: route}
  route: {handler: route.lua, to: {page: page, log: {stage: log, overflow: drop_newest}}}
  page: {handler: page.lua, pool: disk, libs: all, queue: {capacity: 7, bytes: 1MiB}, limits: {memory: 32MiB}}
  log: {sink: "null"}
]]

local route = [[
local weir = require "weir"
return function(req)
    if req.path == "/fail" then
        error("on purpose")
    end
    weir.emit("log", {path = req.path})
    weir.emit("page", req)
end
]]

local page = [[
return function(req)
    if req.path == "/slow" then
        os.execute("sleep 1.5") -- can't be interrupted
    end
    req:reply(200, "hello\n")
end
]]

local function has(text, part)
    assert.is_truthy(text:find(part, 1, true), ("no '%s' in:\n%s"):format(part, text))
end

describe("the command line", function()
    local place

    before_each(function()
        place = program.place()
        place:write("shop/weir.yaml", app)
        place:write("shop/route.lua", route)
        place:write("shop/page.lua", page)
        place:write("hello.lua", "return function(req) req:reply(200, 'hi ' .. req.path .. '\\n') end\n")
    end)

    after_each(function()
        program.clean()
    end)

    -- Runs to the end; the streams that a result of that status does not belong on must be empty.
    local function weir(status, ...)
        local got, out, err = place:weir {...}
        assert.are.equal(status, got, table.concat({...}, " ") .. "\n" .. out .. err)
        if status ~= 0 then
            assert.are.equal("", out)
            assert.are_not.equal("", err)
        else
            assert.are.equal("", err)
        end
        return status == 0 and out or err
    end

    describe("as a whole", function()
        it("shows its commands and fails without one", function()
            has(weir(64), "usage: weir COMMAND")
        end)

        it("offers the nearest name for a command that does not exist", function()
            has(weir(64, "chekc"), "did you mean 'check'?")
            has(weir(64, "reload"), "there is no command 'reload'")
            has(weir(64, "help", "grpah"), "did you mean 'graph'?")
        end)

        it("helps with every command in three ways", function()
            local list = weir(0, "help")
            assert.are.equal(list, weir(0, "--help"))
            for _, name in ipairs {"run", "check", "graph", "stats", "version"} do
                has(list, "\n  " .. name .. " ")
                local text = weir(0, name, "--help")
                has(text, "usage: weir " .. name)
                has(text, "--help")
                assert.are.equal(text, weir(0, "help", name))
                assert.are.equal(text, weir(0, name, "-h"))
            end
        end)

        it("refuses options and arguments that do not exist", function()
            has(weir(64, "stats", "--jsno"), "did you mean '--json'?")
            has(weir(64, "stats", "-q"), "there is no option '-q'")
            has(weir(64, "stats", "--json=yes"), "takes no value")
            has(weir(64, "check", "--set"), "--set needs a value")
            has(weir(64, "check", "one", "two"), "what is 'two'?")
            has(weir(64, "version", "one"), "what is 'one'?")
        end)

        it("takes options before and after the application", function()
            has(weir(0, "check", "--set", "stages.page.batch=8", "shop"), "ok: ")
            has(weir(0, "check", "shop", "--set=stages.page.batch=8"), "ok: ")
        end)

        it("fails when its result can't be written", function()
            local line = place:command({"version"}, nil, "")
            local _, status = program.shell(("( %s ) >/dev/full 2>/dev/null"):format(line))
            assert.are.equal(1, status)
        end)
    end)

    describe("version", function()
        it("tells what it is made of", function()
            local text = weir(0, "version")
            assert.is_truthy(text:match("^weir %d+%.%d+%.%d+\nbuild: "), text)
            for _, library in ipairs {"lua 5.4", "libuv 1.", "llhttp 8.", "libyaml", "jansson", "msgpack"} do
                has(text, library)
            end
            assert.are.equal(text, weir(0, "--version"))
        end)

        it("is JSON for programs", function()
            local doc = json.decode(weir(0, "version", "--json"))
            assert.is_truthy(doc.version:match("^%d+%.%d+%.%d+$"))
            assert.is_truthy(doc.libraries.lua:match("^5%.4"))
            assert.are.equal("boolean", type(doc.testing))
        end)
    end)

    describe("check", function()
        it("prints what an application may take", function()
            local text = weir(0, "check", "shop")
            has(text, "ok: 4 stages, 2 pools, 2 scripts; memory bound: 160MiB in VMs, 129MiB in queues\n")
            assert.is_truthy(text:match("\nroute +main +2 +64MiB +128MiB +64MiB\n"), text)
            assert.is_truthy(text:match("\npage +disk +1 +32MiB +32MiB +1MiB\n"), text)
            assert.is_truthy(text:match("\nlog +main +2 +%- +%- +64MiB\n"), text)
        end)

        it("takes a folder, a file, one Lua file, and nothing for the folder it stands in", function()
            has(weir(0, "check", "shop/weir.yaml"), "ok: 4 stages")
            has(weir(0, "check", "hello.lua"), "ok: 2 stages, 1 pool, 1 script")
            has(weir(78, "check"), "weir.yaml")
        end)

        it("applies --set before it checks", function()
            has(weir(0, "check", "shop", "--set", "stages.page.limits.memory=16MiB"), "144MiB in VMs")
            local text = weir(78, "check", "shop", "--set", "stages.page.queue.capacity=lots")
            has(text, "--set stages.page.queue.capacity: error:")
            has(weir(78, "check", "shop", "--set", "stages.pgae.batch=8"), "did you mean 'page'?")
            has(weir(64, "check", "shop", "--set", "stages.page.batch"), "PATH=VALUE")
            has(weir(64, "check", "shop", "--set", "=8"), "PATH=VALUE")
        end)

        it("runs no handler and listens nowhere", function()
            place:write("shop/page.lua", "return function() error('handler was called') end\n")
            weir(0, "check", "shop", "--set", "stages.web.listen=127.0.0.1:1")
        end)

        it("says that a file is missing", function()
            has(weir(78, "check", "nowhere"), "nowhere: error: there is no such file\n")
            has(weir(78, "check", "nowhere.lua"), "nowhere.lua: error: there is no such file")
        end)
    end)

    describe("graph", function()
        it("shows stages, queues and edges of a file", function()
            local text = weir(0, "graph", "shop")
            has(text, "shop; pools: main (2 threads), disk (1 thread, blocking)\n")
            assert.is_truthy(text:match("\npage +handler +page%.lua +disk +7, 1MiB, reject, fifo\n"), text)
            assert.is_truthy(text:match("\nroute +log +log +drop_newest %(this edge%)\n"), text)
            assert.is_truthy(text:match("\nroute +page +page +reject\n"), text)
        end)

        it("draws for Graphviz and Mermaid", function()
            local dot = weir(0, "graph", "shop", "--format", "dot")
            assert.is_truthy(dot:match("^digraph \"shop\" {\n"))
            has(dot, '"route" -> "log" [label="log\\ndrop_newest"];\n')
            local mermaid = weir(0, "graph", "shop", "--format=mermaid")
            assert.is_truthy(mermaid:match("^flowchart LR\n"))
            has(mermaid, '  s1 -->|"page"| s2\n')
            has(weir(64, "graph", "shop", "--format", "svg"), "text, dot or mermaid")
        end)

        it("is JSON for programs", function()
            local doc = json.decode(weir(0, "graph", "shop", "--json"))
            assert.are.equal("shop", doc.app)
            assert.are.equal(4, #doc.stages)
            assert.are.equal(3, #doc.edges)
        end)

        it("checks the application that it shows", function()
            has(weir(78, "graph", "shop", "--set", "stages.page.pool=dsik"), "'dsik'")
        end)
    end)

    describe("of a running host", function()
        it("shows the last failures", function()
            local host = place:start {"shop"}
            assert.are.equal("", weir(0, "failures"))
            for _ = 1, 12 do
                assert.are.equal(500, select(2, program.curl(host.url .. "/fail")))
            end
            local doc = json.decode(weir(0, "failures", "--json"))
            assert.are.equal(12, #doc.failures)
            assert.are.equal(12, doc.failures[1].number)
            assert.are.equal("route", doc.failures[1].stage)
            assert.are.equal("error", doc.failures[1].reason)
            has(doc.failures[1].error, "route.lua:")
            assert.are.equal("<request>", doc.failures[1].event)
            assert.are.equal(2, #json.decode(weir(0, "failures", "--json", "--limit", "2")).failures)
            assert.are.equal(0, #json.decode(weir(0, "failures", "--json", "page")).failures)
            local text = weir(0, "failures", "route")
            assert.are.equal(10, select(2, text:gsub("stage route  error  event %d+, worker %d, generation 1\n", "")))
            has(text, "    event: \"<request>\"\n")
            has(weir(1, "failures", "rout"), "there is no stage 'rout' (did you mean 'route'?)")
            has(weir(64, "failures", "--limit", "0"), "--limit: expected a whole number from 1 to 256, found '0'")
        end)

        it("shows the ledger", function()
            local host = place:start {"shop"}
            for _ = 1, 3 do
                assert.are.equal(200, select(2, program.curl(host.url .. "/")))
            end
            assert.are.equal(500, select(2, program.curl(host.url .. "/fail")))
            local doc = json.decode(weir(0, "stats", "--json"))
            assert.are.equal("shop", doc.app)
            assert.are.equal(host.pid, doc.pid)
            assert.are.equal(4, doc.stages.route.ledger.accepted)
            assert.are.equal(3, doc.stages.route.ledger.handled)
            assert.are.equal(1, doc.stages.route.ledger.failed)
            assert.are.equal(1, doc.stages.route.reasons.failed.error)
            assert.are.equal(3, doc.stages.page.ledger.handled)
            assert.are.equal(3, doc.stages.log.ledger.handled)
            assert.are.equal(3, doc.stages.route.emitted.page)
            assert.are.equal(4, doc.stages.web.emitted.out)
            assert.are.equal(4, doc.stages.web.http.requests)
            assert.is_true(doc.stages.page.vm_bytes > 1000)
            for name, stage in pairs(doc.stages) do
                local ledger = stage.ledger
                assert.are.equal(ledger.offered, ledger.accepted + ledger.rejected, name)
                assert.are.equal(ledger.accepted, ledger.handled + ledger.failed + ledger.expired + ledger.dropped +
                    ledger.queued + ledger.running, name)
                assert.are.equal(0, ledger.unsettled, name)
            end
            local text = weir(0, "stats")
            assert.is_truthy(text:match("^shop  pid " .. host.pid .. "  running  up "), text)
            assert.is_truthy(text:match("\nroute +handler +main +0/1024 +4 +0 +3 +1 +0 +0 +0 "), text)
            text = weir(0, "stats", "route")
            has(text, "ledger    offered 4, rejected 0, accepted 4, handled 3, failed 1,")
            has(text, "failed    error 1\n")
            has(text, "emitted   page 3, log 3\n")
            text = weir(0, "stats", "web")
            has(text, "address   " .. host.url .. "\n")
            has(text, "requests 4,")
            doc = json.decode(weir(0, "stats", "page", "--json"))
            assert.is_nil(doc.stages.route)
            assert.are.equal(3, doc.stages.page.ledger.handled)
            has(weir(1, "stats", "pgae"), "there is no stage 'pgae' (did you mean 'page'?); there are: web, route, page, log")
            has(weir(1, "stats", "a&b=%"), "there is no stage 'a&b=%'")
        end)

        it("draws its graph with live figures", function()
            local host = place:start {"shop"}
            program.curl(host.url .. "/")
            local text = weir(0, "graph")
            has(text, "shop, running; pools:")
            has(text, host.url)
            assert.is_truthy(text:match("\nroute +page +page +reject +1\n"), text)
        end)

        it("is found by --admin, by WEIR_ADMIN, and as the only one", function()
            local socket = place.root .. "/my.sock"
            local host = place:start {"hello.lua", "--listen", "127.0.0.1:0", "--admin", socket}
            has(weir(69, "stats"), place.runtime .. "/weir")
            assert.is_truthy(weir(0, "stats", "--admin", socket):match("^hello "))
            assert.is_truthy(weir(0, "stats", "--admin", "unix:" .. socket):match("^hello "))
            local status, out = place:weir({"stats"}, {WEIR_ADMIN = socket})
            assert.are.equal(0, status)
            assert.is_truthy(out:match("^hello "))
            assert.are.equal(0, host:stop())
            assert.is_nil(program.read(socket))
            has(weir(69, "stats", "--admin", socket), socket)
        end)

        it("must be named when there are several", function()
            place:start {"shop"}
            local second = place:start {"shop"}
            local text = weir(64, "stats")
            has(text, "--admin " .. place.runtime .. "/weir/shop.sock")
            has(text, ("--admin %s/weir/shop-%d.sock"):format(place.runtime, second.pid))
            second:stop()
            assert.is_truthy(weir(0, "stats"):match("^shop "))
        end)

        it("replaces the socket that a killed one left", function()
            local first = place:start {"shop"}
            first:signal("KILL")
            first:wait()
            has(weir(69, "stats"), "no running host")
            local second = place:start {"shop"}
            has(weir(0, "stats"), "pid " .. second.pid)
        end)

        it("is not there: exit 69, and where it looked", function()
            has(weir(69, "stats"), place.runtime .. "/weir")
            has(weir(69, "graph"), place.runtime .. "/weir")
            has(weir(69, "stats", "--admin", "/nonexistent/x.sock"), "/nonexistent/x.sock")
        end)
    end)

    describe("run", function()
        it("serves one Lua file", function()
            local host = place:start {"hello.lua", "--listen", "127.0.0.1:0"}
            assert.are.same({"hi /you\n", 200}, {program.curl(host.url .. "/you")})
        end)

        it("says ready in a line of its own, with every address, on stderr", function()
            place:write("two.yaml", [[
weir: 1
stages:
  one: {source: http, listen: "127.0.0.1:0", to: page}
  two: {source: http, listen: "127.0.0.1:0", to: page}
  page: {handler: hello.lua}
]])
            local host = place:start {"two.yaml", "--log-level", "error"}
            local one, two = host:stderr():match("^ready (http://127%.0%.0%.1:%d+) (http://127%.0%.0%.1:%d+)\n$")
            assert.is_truthy(two, host:stderr())
            assert.are_not.equal(one, two)
            assert.are.equal(200, select(2, program.curl(two .. "/")))
            assert.are.equal("", program.read(host.log .. ".out"))
        end)

        it("opens no admin socket with --admin none", function()
            place:start {"hello.lua", "--listen", "127.0.0.1:0", "--admin", "none"}
            weir(69, "stats")
        end)

        it("makes its admin socket for its user alone", function()
            place:start {"shop"}
            local modes = program.shell(("stat -c '%%a %%F' %s/weir %s/weir/shop.sock"):format(place.runtime, place.runtime))
            assert.are.equal("700 directory\n600 socket\n", modes)
        end)

        it("ends with 0 after SIGTERM and after SIGINT", function()
            for _, name in ipairs {"TERM", "INT"} do
                local host = place:start {"shop"}
                assert.are.equal(200, select(2, program.curl(host.url .. "/")))
                host:signal(name)
                assert.are.equal(0, host:wait())
            end
        end)

        it("finishes and answers what is under way before it ends", function()
            local host = place:start {"shop"}
            local answer = place.root .. "/answer"
            program.shell(("curl -s -m 20 -o /dev/null -w '%%{http_code}' %s/slow >%s &"):format(host.url, answer))
            program.wait(10, "the slow request", function()
                return json.decode(weir(0, "stats", "--json")).stages.page.ledger.running == 1
            end)
            host:signal("TERM")
            assert.are.equal(0, host:wait())
            program.wait(5, "answer", function()
                return program.read(answer) ~= ""
            end)
            assert.are.equal("200", program.read(answer))
        end)

        it("drops what waits, ends without a handler that blocks, and with 1, after a second signal", function()
            local host = place:start {"shop"}
            for _ = 1, 3 do
                program.shell(("curl -s -m 20 %s/slow >/dev/null &"):format(host.url))
            end
            program.wait(10, "three slow requests", function()
                local ledger = json.decode(weir(0, "stats", "--json")).stages.page.ledger
                return ledger.running == 1 and ledger.queued == 2
            end)
            host:signal("TERM")
            program.wait(10, "the first signal", function()
                return host:stderr():find("finishing what is under way", 1, true)
            end)
            host:signal("TERM")
            assert.are.equal(1, host:wait())
            has(host:stderr(), "a handler does not come back; ending without it")
            assert.is_nil(program.read(place.runtime .. "/weir/shop.sock"))
        end)

        it("reads certificates anew on SIGHUP, says that scripts stay as they are, and goes on", function()
            local host = place:start {"shop"}
            host:signal("HUP")
            program.wait(10, "a line in the log", function()
                return host:stderr():find("SIGHUP: reading certificates anew", 1, true)
            end)
            host:signal("USR1")
            assert.are.equal(200, select(2, program.curl(host.url .. "/")))
            host:signal("TERM")
            assert.are.equal(0, host:wait())
        end)

        it("fails with 1 when the address is taken", function()
            local host = place:start {"shop"}
            local address = host.url:match("http://(.*)")
            has(weir(1, "run", "hello.lua", "--listen", address, "--admin", "none"), address)
        end)

        it("fails with 1 when the admin socket can't be made", function()
            has(weir(1, "run", "hello.lua", "--listen", "127.0.0.1:0", "--admin", "/nonexistent/x.sock"), "/nonexistent/x.sock")
            place:write("file", "precious")
            local path = place.home .. "/file"
            has(weir(1, "run", "hello.lua", "--listen", "127.0.0.1:0", "--admin", path), path)
            assert.are.equal("precious", program.read(path))
        end)

        it("refuses what makes no sense", function()
            has(weir(64, "run", "shop", "--listen", ":1"), "--set stages.NAME.listen=:1")
            has(weir(64, "run", "hello.lua", "--listen", "here"), "--listen here")
            has(weir(64, "run", "shop", "--watch"), "not supported by this version")
            has(weir(64, "run", "shop", "--log-level", "loud"), "debug, info, warn or error")
            has(weir(64, "run", "shop", "--log-format", "xml"), "text or json")
        end)

        it("logs JSON lines when asked to", function()
            local host = place:start {"shop", "--log-format", "json"}
            program.wait(10, "a line of JSON", function()
                return ("\n" .. host:stderr()):find("\n{", 1, true)
            end)
            for line in host:stderr():gmatch("[^\n]+") do
                if line:sub(1, 6) ~= "ready " then
                    assert.are.equal("string", type(json.decode(line).message))
                end
            end
        end)
    end)
end)
