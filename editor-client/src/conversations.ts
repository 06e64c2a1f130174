/** The list of past conversations, to go on with one or to delete it. */

import * as vscode from "vscode";

import type { Assistant } from "./assistant";
import type { Conversation } from "./conversation";
import { showFailure } from "./messages";
import type { ConversationSummary } from "./protocol";
import { count } from "./text";

type Item = vscode.QuickPickItem & { conversation: ConversationSummary };

const DELETE: vscode.QuickInputButton = { iconPath: new vscode.ThemeIcon("trash"), tooltip: "Delete for good" };

/** Lets the person choose a conversation and shows it. */
export async function showConversations(assistant: Assistant, conversation: Conversation): Promise<void> {
  const picker = vscode.window.createQuickPick<Item>();
  picker.title = "Conversations";
  picker.placeholder = "Choose a conversation to go on with";
  picker.matchOnDescription = true;
  picker.busy = true;
  picker.onDidAccept(() => {
    const [chosen] = picker.selectedItems;
    picker.hide();
    if (chosen) {
      show(assistant, conversation, chosen.conversation).catch(showFailure);
    }
  });
  picker.onDidTriggerItemButton(({ item }) => {
    forget(assistant, conversation, item.conversation).catch(showFailure);
    picker.items = picker.items.filter((other) => other !== item);
  });
  picker.onDidHide(() => {
    picker.dispose();
  });
  picker.show();
  try {
    const { conversations } = await assistant.request("conversations", {});
    picker.items = conversations.map((stored) => asItem(stored, conversation.conversationId));
    picker.busy = false;
  } catch (error) {
    picker.hide();
    await showFailure(error);
  }
}

async function show(assistant: Assistant, conversation: Conversation, chosen: ConversationSummary): Promise<void> {
  conversation.show(await assistant.request("conversation", { conversationId: chosen.conversationId }));
  await vscode.commands.executeCommand("aiAssistant.conversation.focus");
}

async function forget(assistant: Assistant, conversation: Conversation, chosen: ConversationSummary): Promise<void> {
  await assistant.request("forgetConversation", { conversationId: chosen.conversationId });
  if (conversation.conversationId === chosen.conversationId) {
    conversation.clear();
  }
}

function asItem(stored: ConversationSummary, current: string | undefined): Item {
  return {
    label: `${stored.conversationId === current ? "$(check) " : ""}${stored.title}`,
    description: `${count(stored.turns, "question")} · ${new Date(stored.updatedAt).toLocaleString()}`,
    buttons: [DELETE],
    conversation: stored,
  };
}
