# Prints what zsh offers to complete: zsh -f complete.zsh FOLDER LINE ...
# For each LINE one word a line, then @END@. FOLDER has the completion files.
# The shell that completes has a terminal of its own; it prints the matches, and inserts none.
zmodload zsh/zpty || exit 1
zpty shell "PROMPT= zsh -f -i"
zpty -w shell "fpath=(${(q)1} \$fpath)"
while read -r line; do zpty -w shell "$line"; done <<'SETUP'
stty -echo
autoload -Uz compinit && compinit -D -u
bindkey '^I' complete-word
zstyle ':completion:*' insert-tab false
print-end() { print -r - "@END@"; compstate[insert]= compstate[list]= comppostfuncs=(print-end) }
comppostfuncs=(print-end)
compadd() { [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]] && { builtin compadd "$@"; return }; local -a matches; builtin compadd -A matches "$@"; (( $#matches )) && print -rl -- "MATCH "$^matches; builtin compadd "$@" }
SETUP
zpty -w shell 'print -r - READY'
while zpty -r shell line && [[ $line != READY* ]]; do :; done
for typed in "$@[2,-1]"; do
    zpty -n -w shell $'\x15'"$typed"$'\t'
    while zpty -r shell line && [[ $line != *@END@* ]]; do
        [[ $line == *MATCH\ * ]] && print -r - ${${line##*MATCH }%%$'\r'*}
    done
    print -r - @END@
done
