-- Runs the README and docs/*.md: files named in the first line of a lua or yaml block are written, console blocks are
-- typed. In a console block '$ ' begins a command, the lines after it are what it prints ('...' stands for anything),
-- '[N]' an exit code. A command that prints 'ready' stays running for the blocks after it, until the next one or the end.
local support = require "tests.e2e.support"

local root = support.root
local pages = {
    "README.md", "docs/configuration.md", "docs/handlers.md", "docs/overload.md", "docs/http.md", "docs/command-line.md",
    "docs/tls.md",
    "docs/testing.md",
    "docs/looking-into-queues.md",
    "docs/tune-a-stage.md",
    "docs/classes-and-deadlines.md",
    "docs/degrade-under-load.md",
    "docs/calling-out.md",
    "docs/shared-tables.md",
    "docs/limits.md",
    "docs/sources-and-sinks.md",
    "docs/write-a-controller.md",
}

local function blocks_of(page)
    local blocks, block = {}, nil
    for line in io.lines(root .. "/" .. page) do
        local language = line:match("^```(%w+)$")
        if language and not block then
            block = {language = language, lines = {}}
        elseif line == "```" and block then
            blocks[#blocks + 1], block = block, nil
        elseif block then
            block.lines[#block.lines + 1] = line
        end
    end
    return blocks
end

local function write_block(folder, block)
    local name = (block.lines[1] or ""):match("^%-%-%s+([%w_/.-]+)$") or (block.lines[1] or ""):match("^#%s+([%w_/.-]+)$")
    if not name then
        return
    end
    os.execute(("mkdir -p '%s/%s'"):format(folder, name:match("^(.*)/") or "."))
    local file = assert(io.open(folder .. "/" .. name, "w"))
    file:write(table.concat(block.lines, "\n"), "\n")
    file:close()
end

local function commands_of(block)
    local commands = {}
    for _, line in ipairs(block.lines) do
        local text = line:match("^%$ (.*)$")
        if text then
            commands[#commands + 1] = {text = text, output = {}, status = 0}
        elseif line:match("^%[%d+%]$") then
            commands[#commands].status = tonumber(line:match("%d+"))
        else
            table.insert(commands[#commands].output, line)
        end
    end
    return commands
end

local function pattern_of(lines)
    local text = table.concat(lines, "\n")
    local pattern = text:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("%%%.%%%.%%%.", ".*")
    return "^%s*" .. pattern .. "%s*$"
end

local function run_page(page)
    local folder = support.tempdir()
    local port = support.free_port()
    local env = ("cd '%s' && export PATH='%s':\"$PATH\" PORT=%d WEIR_ADMIN='%s/admin.sock' && "):format(
        folder, support.bindir, port, folder)
    local server
    local function stop()
        if server then
            server:stop()
            server = nil
        end
    end
    local function run(command)
        local text = command.text:gsub("127%.0%.0%.1:8080", "127.0.0.1:" .. port)
        if command.output[1] and command.output[1]:match("^ready%f[ \0]") then
            stop()
            server = support.start_command(env .. "exec " .. text .. " --admin '" .. folder .. "/admin.sock'")
            return
        end
        local pipe = assert(io.popen("bash -c " .. support.quote(env .. text) .. " 2>&1"))
        local output = pipe:read("a")
        local _, _, status = pipe:close()
        assert.are.equal(command.status, status, page .. ": $ " .. text .. "\n" .. output)
        if #command.output > 0 then
            assert.is_truthy(output:match(pattern_of(command.output)), page .. ": $ " .. text .. "\n" .. output)
        end
    end
    for _, block in ipairs(blocks_of(page)) do
        if block.language == "lua" or block.language == "yaml" then
            write_block(folder, block)
        elseif block.language == "console" then
            for _, command in ipairs(commands_of(block)) do
                if not (command.text:match("^export ") or command.text:match("^scripts/build ")) then
                    run(command)
                end
            end
        end
    end
    stop()
end

describe("documentation", function()
    for _, page in ipairs(pages) do
        it("shows what happens: " .. page, function()
            run_page(page)
        end)
    end
end)
