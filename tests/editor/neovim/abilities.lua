-- The three abilities in a real Neovim, through the plugin's commands and code actions.
--
-- Run by editors.test.ts: nvim --headless -u NONE -i NONE -n -c "luafile abilities.lua". The
-- environment names the plugin (PLUGIN), the interpreter (PYTHON) and the workspace (WORKSPACE).

local PATIENCE = 180000

vim.opt.runtimepath:append(vim.env.PLUGIN)
vim.cmd("filetype on")

local notices = {}
vim.notify = function(message)
  table.insert(notices, message)
end

local function wait_for(what, holds)
  assert(vim.wait(PATIENCE, holds, 50), "This did not come to hold: " .. what .. "\n" .. table.concat(notices, "\n"))
end

local function noticed(pattern)
  for _, message in ipairs(notices) do
    if message:find(pattern) then
      return true
    end
  end
  return false
end

local function text()
  return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n")
end

local function shown(extension)
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(buffer) and vim.api.nvim_buf_get_name(buffer):match(extension .. "$") then
      return table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), "\n")
    end
  end
end

local function open(name)
  vim.cmd("silent only")
  vim.cmd("edit! " .. vim.fn.fnameescape(vim.env.WORKSPACE .. "/" .. name))
end

local steps = {}

function steps.attaches()
  require("ai_codegen_assistant").setup({
    cmd = { vim.env.PYTHON, "-m", "ai_codegen_assistant", "serve" },
    settings = { explainMaxTokens = 24, generateMaxTokens = 48 },
  })
  open("sample.py")
  wait_for("the server is initialized", function()
    local client = vim.lsp.get_clients({ name = "ai-codegen-assistant" })[1]
    return client ~= nil and client.initialized
  end)
end

function steps.explains_in_a_markdown_buffer()
  vim.cmd("1,3AssistantExplain")
  wait_for("an explanation is shown", function()
    return (shown("%.md") or ""):find("## Explanation") ~= nil
  end)
end

function steps.turns_a_comment_into_code_as_one_undo_step()
  open("sample.py")
  local before = text()
  vim.api.nvim_win_set_cursor(0, { 5, 4 })
  vim.cmd("AssistantGenerate")
  wait_for("code is inserted", function()
    return text():find("\ndef fib%(") ~= nil
  end)
  vim.cmd("undo")
  assert(text() == before, "Undo must bring the text back.")
end

function steps.teaches_through_a_code_action()
  vim.ui.select = function(items, _, choose)
    for index, item in ipairs(items) do
      if (item.action or item[2]).title == "Teach this as a task" then
        return choose(item, index)
      end
    end
    error("There is no code action that teaches.")
  end
  vim.lsp.buf.code_action({ range = { start = { 8, 0 }, ["end"] = { 10, 10 } } })
  wait_for("the task is learnt", function()
    return noticed("Learnt") or vim.fn.execute("messages"):find("Learnt") ~= nil
  end)
end

function steps.uses_what_it_was_taught()
  vim.api.nvim_win_set_cursor(0, { 7, 4 })
  vim.cmd("AssistantGenerate")
  wait_for("the taught code is inserted", function()
    return select(2, text():gsub("teapot_colour%(", "")) > 1
  end)
end

local order = {
  "attaches",
  "explains_in_a_markdown_buffer",
  "turns_a_comment_into_code_as_one_undo_step",
  "teaches_through_a_code_action",
  "uses_what_it_was_taught",
}

for _, name in ipairs(order) do
  local passed, problem = xpcall(steps[name], debug.traceback)
  io.stdout:write((passed and "ok " or "not ok ") .. name .. "\n")
  if not passed then
    io.stdout:write(problem .. "\n" .. text() .. "\n" .. vim.fn.execute("messages") .. "\n")
    vim.cmd("cquit 1")
  end
end
vim.cmd("qall!")
