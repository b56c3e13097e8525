-- TLS from outside: curl and openssl's client against a running application.
local support = require "tests.e2e.support"

local shell, quote = support.shell, support.quote

local handler = [[
local M = {}
local big = ("0123456789abcdef"):rep(65536)
function M.handle(req)
    if req.path == "/big" then
        req:reply(200, big)
    elseif req.path == "/file" then
        req:reply{status = 200, file = "page.lua"}
    elseif req.path == "/count" then
        req:reply(200, tostring(#req.body))
    else
        req:reply(200, "hello\n")
    end
end
return M
]]

local function yaml(tls)
    return ([[
weir: 1
stages:
  web:
    source: http
    listen: '127.0.0.1:0'
    tls: %s
    to: page
  page: {handler: page.lua}
]]):format(tls)
end

local pairs_folder

-- Writes NAME.pem and NAME.key, signed by themselves.
local function make_pair(folder, name, names)
    local command = "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 -subj /CN=%s "
        .. "-addext subjectAltName=%s -keyout %s.key -out %s.pem 2>/dev/null"
    assert(os.execute(command:format(quote(folder), name, names, name, name)))
end

local function read_pair(name)
    return support.read(pairs_folder .. "/" .. name .. ".pem"), support.read(pairs_folder .. "/" .. name .. ".key")
end

local function start(tls, arguments)
    local files = {["weir.yaml"] = yaml(tls), ["page.lua"] = handler}
    for _, name in ipairs {"web", "other", "ann"} do
        files[name .. ".pem"], files[name .. ".key"] = read_pair(name)
    end
    return support.start(files, {args = arguments})
end

local function curl(host, arguments, path)
    return support.curl(("--cacert %s/web.pem %s https://127.0.0.1:%d%s"):format(quote(host.folder), arguments or "", host.port,
        path or "/"))
end

-- What openssl's client says of a connection.
local function s_client(host, arguments)
    return (shell(("openssl s_client -connect 127.0.0.1:%d %s </dev/null 2>&1"):format(host.port, arguments)))
end

local function subject(host, arguments)
    return s_client(host, arguments or ""):match("subject=CN = (%w+)")
end

describe("TLS", function()
    setup(function()
        pairs_folder = shell("mktemp -d /tmp/weir-e2e-pairs-XXXXXX"):match("%S+")
        make_pair(pairs_folder, "web", "IP:127.0.0.1,DNS:localhost")
        make_pair(pairs_folder, "other", "DNS:other.example,DNS:*.wild.example")
        make_pair(pairs_folder, "ann", "DNS:ann")
    end)

    teardown(function()
        os.execute("rm -rf " .. quote(pairs_folder))
    end)

    after_each(support.clean)

    it("serves small and large answers, files and bodies in both versions", function()
        local host = start("{certificate: web.pem, key: web.key}")
        assert.truthy(host.ready:find("https://127.0.0.1:", 1, true))
        support.write(host.folder .. "/body", ("z"):rep(900000))
        for _, version in ipairs {"--tls-max 1.2", "--tlsv1.3"} do
            assert.equal("hello\n", (curl(host, version)))
            local body, status = curl(host, version, "/big")
            assert.equal(200, status)
            assert.equal(1048576, #body)
            assert.equal(handler, (curl(host, version, "/file")))
            local upload = version .. " --data-binary @" .. quote(host.folder .. "/body")
            assert.equal("900000", (curl(host, upload, "/count")))
        end
    end)

    it("speaks no old version, no weak cipher, and HTTP/1.1 by ALPN", function()
        local host = start("{certificate: web.pem, key: web.key}")
        assert.truthy(s_client(host, "-tls1_1 -cipher ALL:@SECLEVEL=0"):find("alert", 1, true))
        assert.truthy(s_client(host, "-tls1_2 -cipher AES128-GCM-SHA256"):find("alert handshake failure", 1, true))
        assert.truthy(s_client(host, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA"):find("alert handshake failure", 1, true))
        assert.truthy(s_client(host, "-alpn h2,http/1.1"):find("ALPN protocol: http/1.1", 1, true))
        assert.truthy(s_client(host, "-alpn h2"):find("no application protocol", 1, true))
        local strict = start("{certificate: web.pem, key: web.key, min_version: 1.3}")
        assert.truthy(s_client(strict, "-tls1_2"):find("alert protocol version", 1, true))
        assert.equal("hello\n", (curl(strict)))
    end)

    it("chooses the certificate by name", function()
        local host = start("{certificate: web.pem, key: web.key, certificates: [{certificate: other.pem, key: other.key}]}")
        assert.equal("web", subject(host, "-noservername"))
        assert.equal("web", subject(host, "-servername nobody.example"))
        assert.equal("other", subject(host, "-servername other.example"))
        assert.equal("other", subject(host, "-servername a.WILD.example"))
        assert.equal("web", subject(host, "-servername a.b.wild.example"))
    end)

    it("asks for client certificates", function()
        local host = start("{certificate: web.pem, key: web.key, client_ca: ann.pem}")
        local own = ("--cert %s/ann.pem --key %s/ann.key"):format(quote(host.folder), quote(host.folder))
        assert.equal("hello\n", (curl(host, own)))
        local _, status = curl(host)
        assert.equal(0, status)
        local wrong = ("--cert %s/other.pem --key %s/other.key"):format(quote(host.folder), quote(host.folder))
        _, status = curl(host, wrong)
        assert.equal(0, status)
    end)

    it("resumes sessions, on any worker", function()
        local host = start("{certificate: web.pem, key: web.key}")
        local session = quote(host.folder .. "/session")
        for _, version in ipairs {"-tls1_2", "-tls1_3"} do
            -- by the end of the answer it has the ticket, which in TLS 1.3 comes after the handshake
            local command = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | "
                .. "openssl s_client -quiet -connect 127.0.0.1:%d %s -sess_out %s 2>&1"
            shell(command:format(host.port, version, session))
            for _ = 1, 6 do
                assert.truthy(s_client(host, version .. " -sess_in " .. session):find("Reused, ", 1, true))
            end
        end
    end)

    it("reads certificates anew on SIGHUP and keeps the old ones when they are wrong", function()
        local host = start("{certificate: web.pem, key: web.key}", {"--log-level", "info"})
        assert.equal("web", subject(host))
        local certificate, key = read_pair("other")
        support.write(host.folder .. "/web.pem", certificate)
        host:signal("HUP")
        support.wait(10, "the error", function()
            return host:stderr():find("this key does not belong to the certificate in web.pem; the certificates in use", 1, true)
        end)
        assert.equal("web", subject(host))
        support.write(host.folder .. "/web.key", key)
        host:signal("HUP")
        support.wait(10, "the new pair", function()
            return host:stderr():find("stage 'web': new connections get web.pem (other.example, until ", 1, true)
        end)
        assert.equal("other", subject(host))
        assert.equal(0, host:stop())
    end)

    it("tells plain clients, and ends what is no handshake", function()
        local host = start("{certificate: web.pem, key: web.key}")
        local answer = support.ask(host.port, support.get("/"))
        assert.equal(400, answer.status)
        assert.truthy(answer.body:find("https://", 1, true))
        local client = support.connect(host.port)
        client:send("\0\1\2\3 this is nothing")
        while client:more() do end
        assert.equal("hello\n", (curl(host)))
    end)

    it("is refused with file, line and column when a file is wrong", function()
        local folder = support.tempdir()
        support.write(folder .. "/weir.yaml", yaml("{certificate: web.pem, key: web.key}"))
        support.write(folder .. "/page.lua", handler)
        local text, status = shell(("cd %s && %s run . 2>&1"):format(quote(folder), quote(support.bin)))
        assert.equal(78, status)
        assert.truthy(text:find("weir.yaml:6:24: error: web.pem: there is no such file", 1, true))
    end)
end)
