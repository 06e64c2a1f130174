/** Files that are on no disk, as those of a repository that an editor shows without a clone. */

const vscode = require("vscode");

const CODE = `def mean(values):
    """Return the arithmetic mean."""
    return sum(values) / len(values)

# return the n-th Fibonacci number
`;

class Files {
  onDidChangeFile = new vscode.EventEmitter().event;
  #files;

  constructor(files) {
    this.#files = new Map(Object.entries(files));
  }

  stat({ path }) {
    if (path === "/") {
      return { type: vscode.FileType.Directory, ctime: 0, mtime: 0, size: 0 };
    }
    return { type: vscode.FileType.File, ctime: 0, mtime: 0, size: this.readFile({ path }).length };
  }

  readDirectory() {
    return [...this.#files.keys()].map((path) => [path.slice(1), vscode.FileType.File]);
  }

  readFile({ path }) {
    const text = this.#files.get(path);
    if (text === undefined) {
      throw vscode.FileSystemError.FileNotFound(path);
    }
    return new TextEncoder().encode(text);
  }

  writeFile({ path }, content) {
    this.#files.set(path, new TextDecoder().decode(content));
  }

  watch() {
    return new vscode.Disposable(() => undefined);
  }

  createDirectory() {}
  delete() {}
  rename() {}
}

exports.activate = ({ subscriptions }) => {
  subscriptions.push(
    vscode.workspace.registerFileSystemProvider("memory", new Files({ "/sample.py": CODE })),
    vscode.workspace.registerFileSystemProvider("memory-read-only", new Files({ "/fixed.py": CODE }), {
      isReadonly: true,
    }),
  );
};
