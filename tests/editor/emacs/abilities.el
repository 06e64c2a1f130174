;;; abilities.el --- The three abilities in a real Emacs with eglot  -*- lexical-binding: t; -*-

;;; Commentary:

;; Run by editors.test.ts: emacs --batch -q --no-site-file -l abilities.el.  The environment names the package
;; (PACKAGE), the interpreter (PYTHON) and the workspace (WORKSPACE).

;;; Code:

(require 'package)
(package-initialize)
(add-to-list 'load-path (getenv "PACKAGE"))
(require 'ai-codegen-assistant)

(setq ai-codegen-assistant-command (list (getenv "PYTHON") "-m" "ai_codegen_assistant" "serve")
      ai-codegen-assistant-settings '(:explainMaxTokens 24 :generateMaxTokens 48)
      eglot-confirm-server-initiated-edits nil
      eglot-connect-timeout 120
      eglot-sync-connect 120)

(defconst patience 180)

(defvar told "" "All messages so far.")
(advice-add 'message :before
            (lambda (words &rest values)
              (when words (setq told (concat told (apply #'format words values) "\n")))))

(defun wait-for (what holds)
  "Wait until HOLDS returns a value, else fail with WHAT."
  (let ((deadline (+ (float-time) patience)))
    (while (not (funcall holds))
      (when (> (float-time) deadline)
        (error "This did not come to hold: %s\n%s\n%s" what told (buffer-string)))
      (accept-process-output nil 0.1))))

(defun shown (pattern)
  "Whether a Markdown buffer holds PATTERN."
  (cl-some (lambda (buffer)
             (and (string-suffix-p ".md" (or (buffer-file-name buffer) ""))
                  (with-current-buffer buffer
                    (save-excursion (goto-char (point-min)) (search-forward pattern nil t)))))
           (buffer-list)))

(defun go-to-line (line)
  "Move to the beginning of LINE."
  (goto-char (point-min))
  (forward-line (1- line)))

(defun lines (first last)
  "Return the beginning of line FIRST and the end of line LAST."
  (list (progn (go-to-line first) (point)) (progn (go-to-line last) (line-end-position))))

(defun report (name)
  "Say that the step NAME has passed."
  (princ (format "ok %s\n" name)))

(condition-case problem
    (with-current-buffer (find-file-noselect (expand-file-name "sample.py" (getenv "WORKSPACE")))
      (python-mode)
      (buffer-enable-undo)
      (apply #'eglot--connect (eglot--guess-contact))
      (eglot--maybe-activate-editing-mode)
      (report "attaches")

      (apply #'ai-codegen-assistant-explain (lines 1 3))
      (wait-for "an explanation is shown" (lambda () (shown "## Explanation")))
      (report "explains_in_a_markdown_buffer")

      (go-to-line 5)
      (ai-codegen-assistant-generate)
      (wait-for "code is inserted"
                (lambda () (save-excursion (goto-char (point-min)) (search-forward "\ndef fib(" nil t))))
      (report "turns_a_comment_into_code")

      (search-forward "def teapot_colour")
      (let ((beginning (line-beginning-position)))
        (forward-line 2)
        (ai-codegen-assistant-teach beginning (line-end-position)))
      (wait-for "the task is learnt" (lambda () (string-match-p "Learnt" told)))
      (report "teaches")

      (goto-char (point-min))
      (search-forward "# convert")
      (ai-codegen-assistant-generate)
      (wait-for "the taught code is inserted"
                (lambda () (> (how-many "def teapot_colour" (point-min) (point-max)) 1)))
      (report "uses_what_it_was_taught")

      (set-buffer-modified-p nil)
      (eglot-shutdown (eglot-current-server)))
  (error
   (princ (format "not ok\n%s\n" (error-message-string problem)))
   (kill-emacs 1)))

;;; abilities.el ends here
