;;; ai-codegen-assistant.el --- Explain Python, turn comments into code, teach  -*- lexical-binding: t; -*-

;; Package-Requires: ((emacs "28.1") (eglot "1.9"))

;;; Commentary:

;; Registers the language server with eglot and gives its commands names.  Everything else is
;; eglot's and Emacs's own: code actions, edits with undo, messages, and explanations in a
;; Markdown buffer.
;;
;;   (require 'ai-codegen-assistant)
;;   (add-hook 'python-mode-hook #'eglot-ensure)

;;; Code:

(require 'eglot)

(defgroup ai-codegen-assistant nil
  "A coding assistant that runs on this machine."
  :group 'tools)

(defcustom ai-codegen-assistant-command '("ai-codegen-assistant" "serve")
  "What starts the language server."
  :type '(repeat string))

(defcustom ai-codegen-assistant-settings nil
  "The section `aiCodegenAssistant' as a property list; the README lists it."
  :type 'plist)

(defclass ai-codegen-assistant-server (eglot-lsp-server) ()
  "The assistant's language server.")

(defun ai-codegen-assistant--contact (&rest _)
  "Return what eglot needs to start the server."
  (cons 'ai-codegen-assistant-server ai-codegen-assistant-command))

(add-to-list 'eglot-server-programs
             '((python-mode python-ts-mode) . ai-codegen-assistant--contact))

(cl-defmethod eglot-initialization-options ((_server ai-codegen-assistant-server))
  "Send the settings with the first request."
  (or ai-codegen-assistant-settings eglot--{}))

(cl-defmethod eglot-client-capabilities ((_server ai-codegen-assistant-server))
  "Say that documents are shown, which older versions of eglot leave to others."
  (let ((capabilities (cl-call-next-method)))
    (plist-put capabilities :window
               (plist-put (plist-get capabilities :window) :showDocument '(:support t)))))

(cl-defmethod eglot-handle-request
  ((_server ai-codegen-assistant-server) (_method (eql window/showDocument))
   &key uri &allow-other-keys)
  "Show the document at URI; an explanation's file grows with each turn, and its buffer follows."
  (let ((buffer (find-file-noselect (eglot--uri-to-path uri) t)))
    (with-current-buffer buffer
      (revert-buffer t t t))
    (display-buffer buffer)
    '(:success t)))

(defun ai-codegen-assistant--execute (name &optional argument)
  "Run the server's command NAME with ARGUMENT.
What it finds arrives as a document, an edit or a message."
  (eglot--signal-textDocument/didChange)
  (jsonrpc-async-request
   (eglot--current-server-or-lose) :workspace/executeCommand
   (list :command (concat "assistant." name) :arguments (vector (or argument eglot--{})))
   :success-fn #'ignore
   :error-fn (lambda (problem) (message "%s" (plist-get problem :message)))))

(defun ai-codegen-assistant--selection (beginning end)
  "Return the region from BEGINNING to END as the server wants it."
  (list :textDocument (eglot--VersionedTextDocumentIdentifier)
        :range (list :start (eglot--pos-to-lsp-position beginning)
                     :end (eglot--pos-to-lsp-position end))))

(defun ai-codegen-assistant--place ()
  "Return the place of point as the server wants it."
  (list :textDocument (eglot--VersionedTextDocumentIdentifier)
        :position (eglot--pos-to-lsp-position)))

;;;###autoload
(defun ai-codegen-assistant-explain (beginning end)
  "Explain the region from BEGINNING to END in a Markdown buffer."
  (interactive "r")
  (ai-codegen-assistant--execute "explainSelection" (ai-codegen-assistant--selection beginning end)))

;;;###autoload
(defun ai-codegen-assistant-ask (question)
  "Ask QUESTION, about the region if it is active."
  (interactive "sAsk: ")
  (ai-codegen-assistant--execute
   "ask"
   (append (list :query question)
           (if (use-region-p)
               (ai-codegen-assistant--selection (region-beginning) (region-end))
             (ai-codegen-assistant--place)))))

;;;###autoload
(defun ai-codegen-assistant-generate ()
  "Turn the comment at point into code."
  (interactive)
  (ai-codegen-assistant--execute "generateFromComment" (ai-codegen-assistant--place)))

;;;###autoload
(defun ai-codegen-assistant-teach (beginning end)
  "Teach the region from BEGINNING to END as a solved task."
  (interactive "r")
  (ai-codegen-assistant--execute "teachSelection" (ai-codegen-assistant--selection beginning end)))

;;;###autoload
(defun ai-codegen-assistant-new-conversation ()
  "Let the next explanation start afresh."
  (interactive)
  (ai-codegen-assistant--execute "newConversation"))

;;;###autoload
(defun ai-codegen-assistant-show-status ()
  "Show models, queue and knowledge."
  (interactive)
  (ai-codegen-assistant--execute "showStatus"))

;;;###autoload
(defun ai-codegen-assistant-unload-models ()
  "Free the memory that models take."
  (interactive)
  (ai-codegen-assistant--execute "unloadModels"))

(provide 'ai-codegen-assistant)
;;; ai-codegen-assistant.el ends here
