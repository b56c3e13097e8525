-- Static files to ever more clients that think (SEDA's Figure 12): haboob beside Apache with processes, Apache with events, nginx and lighttpd. Each
-- client asks for five files on a connection, 20 ms after each answer, out of a set like SPECweb99's that is larger than haboob's cache.
local cjson = require "cjson"
local place = require "place"
local processes = require "processes"

local CLIENTS <const> = {1, 4, 16, 64, 256, 1024}
local DIRS <const> = 40 -- 5 MB each

-- ---- the files ----

local FIRST <const> = {[0] = 102, 1024, 10240, 102400} -- bytes of a class's first file; the ninth is nine times as large

local function make_files()
    local root = place.out .. "/spec"
    local mark = root .. "/made-" .. DIRS
    if place.read(mark) then
        return root
    end
    local text = {}
    for i = 1, 14400 do
        text[i] = ("%064d"):format(i * 2654435761 % 4294967296)
    end
    text = table.concat(text)
    for dir = 0, DIRS - 1 do
        local folder = ("%s/dir%05d"):format(root, dir)
        place.shell("mkdir -p " .. place.quote(folder))
        for class = 0, 3 do
            for file = 0, 8 do
                place.write(("%s/class%d_%d"):format(folder, class, file), text:sub(1, FIRST[class] * (file + 1)))
            end
        end
    end
    place.write(mark, "")
    return root
end

-- ---- the servers ----

local function start_haboob(root)
    local port, admin = processes.free_port(), place.out .. "/haboob.sock"
    os.remove(admin)
    return processes.start("haboob", ("env PORT=%d HABOOB_ROOT=%s %s run %s --admin %s"):format(port, place.quote(root), place.weir,
        place.quote(place.top .. "/scripts/haboob"), place.quote(admin)), port, 0)
end

local function start_nginx(root)
    local port, prefix = processes.free_port(), place.out .. "/nginx-files"
    place.shell("mkdir -p " .. place.quote(prefix))
    local conf = assert(place.read(place.bench .. "/nginx.conf.in")):gsub("location / (%b{})",
        ("location / { root %s; sendfile on; tcp_nopush on; open_file_cache max=10000 inactive=60s; }"):format(root))
    place.write(prefix .. "/nginx.conf", (conf:gsub("@(%u+)@", {PORT = tostring(port), PREFIX = prefix})))
    return processes.start("nginx-files", ("nginx -p %s -c nginx.conf"):format(place.quote(prefix)), port, 0)
end

local function start_lighttpd(root)
    local port, conf = processes.free_port(), place.out .. "/lighttpd.conf"
    place.write(conf, ([[
server.document-root = "%s"
server.port = %d
server.bind = "127.0.0.1"
server.max-connections = 8192
server.max-fds = 16384
server.max-keep-alive-requests = 1000000
server.listen-backlog = 4096
]]):format(root, port))
    return processes.start("lighttpd", "/usr/sbin/lighttpd -D -f " .. place.quote(conf), port, 0)
end

-- Debian's bounds: 150 at once, as processes, or as 25 threads in each of 6.
local function start_apache(root, mpm, bounds)
    local port, folder = processes.free_port(), place.out .. "/apache-" .. mpm
    place.shell("mkdir -p " .. place.quote(folder))
    place.write(folder .. "/httpd.conf", ([[
ServerRoot %s
ServerName localhost
DefaultRuntimeDir %s
PidFile %s/pid
ErrorLog %s/error.log
Listen 127.0.0.1:%d
ListenBacklog 4096
LoadModule mpm_%s_module /usr/lib/apache2/modules/mod_mpm_%s.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User www-data
Group www-data
DocumentRoot %s
KeepAlive On
KeepAliveTimeout 5
MaxKeepAliveRequests 0
EnableSendfile On
%s
<Directory />
    AllowOverride None
</Directory>
]]):format(folder, folder, folder, folder, port, mpm, mpm, root, bounds))
    -- In a process group of its own: when it ends, it signals all of its group.
    return processes.start("apache-" .. mpm, ("setsid /usr/sbin/apache2 -f %s/httpd.conf -DFOREGROUND"):format(folder), port, 0)
end

local servers = {
    {name = "haboob", start = start_haboob},
    {name = "Apache, processes", start = function(root) return start_apache(root, "prefork", "MaxRequestWorkers 150") end},
    {name = "Apache, events", start = function(root) return start_apache(root, "event", "MaxRequestWorkers 150\nThreadsPerChild 25") end},
    {name = "nginx", start = start_nginx},
    {name = "lighttpd", start = start_lighttpd},
}

-- ---- the load ----

local FIGURES <const> = {"rate", "bytes_rate", "mean_ms", "p90_ms", "p99_ms", "max_ms", "jain", "little", "unfinished", "refused", "other", "failed"}

local function measure(options, report, root)
    for _, s in ipairs(servers) do
        local server = s.start(root)
        for _, clients in ipairs(CLIENTS) do
            local warm, seconds = options.seconds, options.seconds * 3
            local text = place.capture(("taskset -c 1 %s %d %g %d dirs=%d warm=%g"):format(place.compile("closed_loop"), server.port,
                warm + seconds, clients, DIRS, warm))
            local r = cjson.decode(text)
            for _, figure in ipairs(FIGURES) do
                report:add(tostring(clients), s.name, figure, r[figure])
            end
            report:add(tostring(clients), s.name, "lost", r.unfinished + r.refused + r.other + r.failed)
        end
        processes.stop(server)
    end
end

local function show(report)
    report:say "\nBy clients: answers a second; response time in ms, mean, p90 and max; Jain's index; Little's check; requests without an answer."
    for _, s in ipairs(servers) do
        local rows = {{s.name, "req/s", "MB/s", "mean", "p90", "max", "Jain", "Little", "lost"}}
        for _, clients in ipairs(CLIENTS) do
            local case = tostring(clients)
            local function cell(metric, format, scale)
                return report:cell(case, s.name, metric, format, scale)
            end
            rows[#rows + 1] = {case, cell("rate", "%.0f"), cell("bytes_rate", "%.1f", 1e-6), cell("mean_ms", "%.2f"), cell("p90_ms", "%.2f"),
                cell("max_ms", "%.1f"), cell("jain", "%.4f"), cell("little", "%.3f"), cell("lost", "%.0f")}
        end
        report:say ""
        report:print_table(rows)
    end
end

return function(options, report)
    local root = make_files()
    for _ = 1, options.rounds do
        measure(options, report, root)
    end
    show(report)
end
