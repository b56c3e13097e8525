-- Where things are, and how to call them.
local M = {}

function M.quote(text)
    return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

-- What a command prints; raises when it fails.
function M.capture(command)
    local pipe = assert(io.popen(command))
    local text = pipe:read("a")
    local ok, _, status = pipe:close()
    if not ok then
        error(("'%s' failed with %s"):format(command, status), 0)
    end
    return (text:gsub("\n$", ""))
end

function M.read(path)
    local file = io.open(path, "rb")
    if not file then
        return nil
    end
    local text = file:read("a")
    file:close()
    return text
end

function M.write(path, text)
    local file = assert(io.open(path, "wb"))
    assert(file:write(text))
    assert(file:close())
end

-- Finds the top of the tree from the folder of the benchmarks and makes build/bench.
function M.init(bench_folder)
    M.bench = M.capture("cd " .. M.quote(bench_folder) .. " && pwd")
    M.top = M.capture("cd " .. M.quote(bench_folder) .. "/../.. && pwd")
    M.weir = M.top .. "/build/release/weir"
    M.out = M.top .. "/build/bench"
    M.shell("mkdir -p build/bench")
end

-- Runs a command at the top of the tree; raises when it fails.
function M.shell(command)
    local ok, _, status = os.execute(("cd %s && %s"):format(M.quote(M.top), command))
    if not ok then
        error(("'%s' failed with %s"):format(command, status), 0)
    end
end

-- Compiles tests/bench/NAME.c to build/bench/NAME when that is older, and returns its path. `libraries` are pkg-config names.
function M.compile(name, libraries)
    local flags = libraries and ("$(pkg-config --cflags --libs %s)"):format(libraries) or ""
    M.shell(("if [ ! build/bench/%s -nt tests/bench/%s.c ]; then "
        .. "cc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -o build/bench/%s tests/bench/%s.c %s -lm; fi")
        :format(name, name, name, name, flags))
    return M.out .. "/" .. name
end

-- Makes build/bench/apps/NAME with these files ({["weir.yaml"] = text, …}) and returns its path.
function M.make_app(name, files)
    local folder = M.out .. "/apps/" .. name
    M.shell("mkdir -p " .. M.quote(folder))
    for file, text in pairs(files) do
        M.write(folder .. "/" .. file, text)
    end
    return folder
end

return M
