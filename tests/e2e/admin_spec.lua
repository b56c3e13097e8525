-- The admin interface: what it answers, and to whom.
local program = require "tests.e2e.program"
local json = require "cjson"

local app = [[
weir: 1
name: shop
shared: {seen: {bytes: 1MiB}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page}
  page: {handler: page.lua, queue: {capacity: 7}}
]]

local page = [[
local weir = require "weir"
return function(req)
    if req.path == "/slow" then
        local from = weir.now()
        while weir.now() - from < 1.5 do end
    end
    req:reply(200, "hello\n")
end
]]

local function has(text, part)
    assert.is_truthy(text:find(part, 1, true), ("no '%s' in:\n%s"):format(part, text))
end

describe("the admin interface", function()
    local place

    before_each(function()
        place = program.place()
        place:write("weir.yaml", app)
        place:write("page.lua", page)
    end)

    after_each(function()
        program.clean()
    end)

    local function ask(path, options)
        local socket = place.runtime .. "/weir/shop.sock"
        return program.curl(("--unix-socket %s %s 'http://localhost%s'"):format(socket, options or "", path))
    end

    describe("on its socket", function()
        it("answers metrics that promtool accepts", function()
            local host = place:start {}
            for _ = 1, 5 do
                program.curl(host.url .. "/")
            end
            local text, status = ask("/metrics")
            assert.are.equal(200, status)
            program.write(place.root .. "/metrics", text)
            local said, code = program.shell(("promtool check metrics <%s/metrics 2>&1"):format(place.root))
            assert.are.equal(0, code, said)
            has(text, 'weir_stage_events_total{stage="page",outcome="handled"} 5\n')
            has(text, 'weir_queue_capacity{stage="page"} 7\n')
            has(text, 'weir_queue_wait_seconds_count{stage="page"} 5\n')
            has(text, 'weir_stage_service_seconds_bucket{stage="page",le="+Inf"} 5\n')
            has(text, 'weir_http_requests_total{stage="web"} 5\n')
            has(text, 'weir_http_answers_2xx_total{stage="web"} 5\n')
            has(text, 'weir_stage_emitted_total{stage="web",port="out"} 5\n')
            assert.is_truthy(text:match('\nweir_build_info{version="%d+%.%d+%.%d+",lua="5%.4'), text)
            assert.is_truthy(text:match('\nweir_vm_bytes{stage="page",worker="%d+"} %d+\n'), text)
            assert.is_true(tonumber(text:match("\nprocess_open_fds (%d+)\n")) > 5)
            assert.is_true(tonumber(text:match("\nprocess_resident_memory_bytes (%d+)\n")) > 1e6)
            local started = tonumber(text:match("\nprocess_start_time_seconds (%d+%.?%d*)\n"))
            assert.is_true(math.abs(os.time() - started) < 120, tostring(started))
        end)

        it("answers the metrics that docs/metrics.md tells of, and no others", function()
            place:start {}
            local text = ask("/metrics")
            local page_text = assert(program.read(program.root .. "/docs/metrics.md"))
            local told, given = {}, {}
            for name in page_text:gsub("\n## Questions.*", ""):gmatch("\n| (`[%w_`, ]+`) |") do
                for one in name:gmatch("[%w_]+") do
                    told[one] = true
                end
            end
            for name in text:gmatch("\n?# TYPE ([%w_]+) ") do
                given[name] = true
                assert.is_true(told[name], name .. " is not in docs/metrics.md")
            end
            for name in pairs(told) do
                assert.is_true(given[name], name .. " is in docs/metrics.md, but not given")
            end
        end)

        it("says that it lives and is ready", function()
            place:start {}
            assert.are.same({"ok\n", 200}, {ask("/health/live")})
            assert.are.same({"running\n", 200}, {ask("/health/ready")})
        end)

        it("is not ready while it drains", function()
            local host = place:start {}
            program.shell(("curl -s -m 20 -o /dev/null %s/slow >/dev/null &"):format(host.url))
            program.wait(10, "the slow request", function()
                return json.decode((ask("/v1/stats"))).stages.page.ledger.running == 1
            end)
            host:signal("TERM")
            program.wait(10, "draining", function()
                return select(2, ask("/health/ready")) == 503
            end)
            assert.are.same({"draining\n", 503}, {ask("/health/ready")})
            assert.are.equal(200, select(2, ask("/health/live")))
        end)

        it("answers HEAD without a body, and other methods with 405", function()
            place:start {}
            local head = program.shell(("curl -sI -m 20 --unix-socket %s/weir/shop.sock http://localhost/v1/stats"):format(
                place.runtime))
            has(head, "HTTP/1.1 200 OK\r\n")
            has(head, "Content-Type: application/json\r\n")
            assert.is_true(tonumber(head:match("Content%-Length: (%d+)")) > 100)
            local answer, status = ask("/v1/stats", "-i -X POST")
            assert.are.equal(405, status)
            has(answer, "Allow: GET, HEAD\r\n")
            has(answer, '{"error":')
        end)

        it("answers what is not there with 404 and JSON", function()
            place:start {}
            for _, path in ipairs {"/", "/v1", "/v1/stats/x", "/v1/stats?stage=nowhere"} do
                local body, status = ask(path)
                assert.are.equal(404, status, path)
                assert.are.equal("string", type(json.decode(body).error))
            end
        end)

        it("goes on after clients that do not behave", function()
            place:start {}
            local socket = require "socket.unix"
            local path = place.runtime .. "/weir/shop.sock"
            for _, text in ipairs {"", "GET /v1/stats", "GET /v1/stats HTTP/1.1\r\nHost: x\r\n\r\n", "\0\1\2\r\n\r\n",
                ("x"):rep(100000)} do
                local client = socket.stream()
                assert(client:connect(path))
                client:settimeout(1)
                client:send(text)
                client:close()
            end
            assert.are.equal(200, select(2, ask("/v1/stats")))
        end)
    end)

    describe("on TCP", function()
        local function start(admin)
            local port = program.free_port()
            place:write("weir.yaml", app .. ("admin: {listen: '127.0.0.1:%d'%s}\n"):format(port, admin or ""))
            place:start {}
            return "http://127.0.0.1:" .. port
        end

        it("asks for the token, but not for health", function()
            place:write("token", "0123456789abcdef\n")
            local url = start(", token_file: token")
            assert.are.equal(401, select(2, program.curl(url .. "/v1/stats")))
            assert.are.equal(401, select(2, program.curl("-H 'Authorization: Bearer 0123456789abcdeg' " .. url .. "/v1/stats")))
            assert.are.equal(401, select(2, program.curl("-H 'Authorization: Bearer 0123456789abcde' " .. url .. "/v1/stats")))
            assert.are.equal(401, select(2, program.curl("-H 'Authorization: Bearer' " .. url .. "/metrics")))
            assert.are.equal(401, select(2, program.curl("-H 'Authorization: Basic 0123456789abcdef' " .. url .. "/metrics")))
            assert.are.equal(200, select(2, program.curl("-H 'Authorization: Bearer 0123456789abcdef' " .. url .. "/v1/stats")))
            assert.are.equal(200, select(2, program.curl(url .. "/health/ready")))
            assert.are.equal(200, select(2, ask("/v1/stats")))
        end)

        it("answers without a token only what is addressed to this machine", function()
            local url = start()
            assert.are.equal(200, select(2, program.curl(url .. "/v1/stats")))
            assert.are.equal(200, select(2, program.curl("-H 'Host: localhost:9901' " .. url .. "/v1/stats")))
            assert.are.equal(403, select(2, program.curl("-H 'Host: rebound.example' " .. url .. "/v1/stats")))
            assert.are.equal(403, select(2, program.curl("-H 'Host: 127.0.0.1.example' " .. url .. "/v1/stats")))
        end)

        it("refuses a token that protects nothing", function()
            for name, case in pairs {
                ["an empty one"] = {"\n", "16"}, ["a short one"] = {"secret\n", "16"},
                ["two lines"] = {"0123456789abcdef\n0123456789abcdef\n", "one line"},
            } do
                place:write("token", case[1])
                place:write("weir.yaml", app .. "admin: {listen: '127.0.0.1:0', token_file: token}\n")
                local status, _, stderr = place:weir {"run"}
                assert.are.equal(78, status, name .. stderr)
                has(stderr, "token")
                has(stderr, case[2])
            end
            place:write("weir.yaml", app .. "admin: {listen: '127.0.0.1:0', token_file: absent}\n")
            local status, _, stderr = place:weir {"run"}
            assert.are.equal(78, status, stderr)
            has(stderr, "absent")
        end)
    end)
end)
