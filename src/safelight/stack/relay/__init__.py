"""The alert relay: sends Alertmanager's notifications to group chats."""
