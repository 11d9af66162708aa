//! The osnadmin command: channels of an ordering node.
