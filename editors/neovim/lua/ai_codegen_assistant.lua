--- AI-CodeGen-Assistant in Neovim 0.10 and newer.
---
--- Starts the language server for Python buffers and gives its commands names. Everything else is
--- Neovim's own: code actions, edits with undo, messages, progress, and explanations in a
--- Markdown buffer.

local M = {}

---@class AiCodegenAssistantOptions
---@field cmd? string[] What starts the server.
---@field settings? table The section `aiCodegenAssistant`; the README lists it.
local defaults = {
  cmd = { "ai-codegen-assistant", "serve" },
  settings = {},
}

local NAME = "ai-codegen-assistant"

local options = defaults

---@return vim.lsp.Client?
local function client(bufnr)
  return vim.lsp.get_clients({ name = NAME, bufnr = bufnr })[1]
end

--- Where the cursor is, as the server wants it.
local function place(found)
  local params = vim.lsp.util.make_position_params(0, found.offset_encoding)
  return { textDocument = params.textDocument, position = params.position }
end

--- The lines of a command's range, whole.
local function selection(found, command)
  local last = vim.fn.getline(command.line2)
  return {
    textDocument = { uri = vim.uri_from_bufnr(0), version = vim.lsp.util.buf_versions[vim.api.nvim_get_current_buf()] },
    range = {
      start = { line = command.line1 - 1, character = 0 },
      ["end"] = { line = command.line2 - 1, character = vim.str_utfindex(last, found.offset_encoding) },
    },
  }
end

--- Runs one of the server's commands; what it finds arrives as a document, an edit or a message.
local function execute(name, argument)
  local found = client(0)
  if not found then
    vim.notify("The assistant is not running for this buffer.", vim.log.levels.WARN)
    return
  end
  local params = { command = "assistant." .. name, arguments = { argument and argument(found) or vim.empty_dict() } }
  found.request("workspace/executeCommand", params, function(problem)
    if problem then
      vim.notify(problem.message, vim.log.levels.ERROR)
    end
  end, 0)
end

--- Asks a question, about the lines of the range if there is one.
local function ask(command)
  execute("ask", function(found)
    local where = command.range > 0 and selection(found, command) or place(found)
    return vim.tbl_extend("error", where, { query = command.args })
  end)
end

--- Cancels whatever the server shows progress for.
local function stop()
  local found = client(0)
  for token in pairs(found and found.progress.pending or {}) do
    found.notify("window/workDoneProgress/cancel", { token = token })
  end
end

local function define_commands()
  local function define(name, action, attributes)
    vim.api.nvim_create_user_command("Assistant" .. name, action, attributes)
  end
  define("Explain", function(command)
    execute("explainSelection", function(found)
      return selection(found, command)
    end)
  end, { range = true, desc = "Explain the selected lines" })
  define("Generate", function()
    execute("generateFromComment", place)
  end, { desc = "Turn the comment at the cursor into code" })
  define("Teach", function(command)
    execute("teachSelection", function(found)
      return selection(found, command)
    end)
  end, { range = true, desc = "Teach the selected lines as a solved task" })
  define("Ask", ask, { range = true, nargs = "+", desc = "Ask a question, about the selected lines if there are any" })
  define("Stop", stop, { desc = "Stop what the assistant is doing" })
  define("Status", function()
    execute("showStatus")
  end, { desc = "Show models, queue and knowledge" })
  define("UnloadModels", function()
    execute("unloadModels")
  end, { desc = "Free the memory that models take" })
  define("NewConversation", function()
    execute("newConversation")
  end, { desc = "Let the next explanation start afresh" })
end

--- An explanation's file grows with each turn; its buffer follows.
local function show_document(problem, params, context, config)
  local answer = vim.lsp.handlers["window/showDocument"](problem, params, context, config)
  vim.cmd("silent! checktime")
  return answer
end

--- Starts the server for a Python buffer, or attaches the buffer to the one that runs.
local function start(bufnr)
  vim.lsp.start({
    name = NAME,
    cmd = options.cmd,
    root_dir = vim.fs.root(bufnr, { "pyproject.toml", "setup.py", ".git" }) or vim.fn.getcwd(),
    settings = { aiCodegenAssistant = options.settings },
    init_options = options.settings,
    handlers = { ["window/showDocument"] = show_document },
  }, { bufnr = bufnr })
end

--- Starts the assistant for Python buffers, those that are open included.
---@param chosen? AiCodegenAssistantOptions
function M.setup(chosen)
  options = vim.tbl_deep_extend("force", defaults, chosen or {})
  define_commands()
  vim.api.nvim_create_autocmd("FileType", {
    group = vim.api.nvim_create_augroup("AiCodegenAssistant", { clear = true }),
    pattern = "python",
    callback = function(event)
      start(event.buf)
    end,
  })
  for _, bufnr in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(bufnr) and vim.bo[bufnr].filetype == "python" then
      start(bufnr)
    end
  end
end

return M
