"""The alert relay: delivers Alertmanager's notifications to group chats."""
