# Made from the command line by packaging/build.py.
_musicfs() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb= word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "${verb:+$verb }$word" in
            demo|login|mount|umount|status|why|warm|cache|'cache info'|'cache verify'|'cache prune'|forget|config|'config show'|doctor) verb="${verb:+$verb }$word" ;;
        esac
    done
    COMPREPLY=()
    case $verb in
        '')
            _musicfs_words '-h --help --version demo login mount umount status why warm cache forget config doctor' ;;
        demo)
            case $prev in
                -o) compopt -o nospace 2>/dev/null; _musicfs_words 'api_url= media_url= cache_dir= state_dir= cache_size= keep_free= sizes= listing_ttl= forget_after= deadline= ca_file= proxy= allow_other= uid= gid= umask= xattrs= scanners= media_servers= media_budget= hints= token_file= token_command= log_level= log_format='; return ;;
                --log-level) _musicfs_words 'debug info warning error'; return ;;
                --log-format) _musicfs_words 'text json'; return ;;
            esac
            if [[ $cur != -* ]]; then _musicfs_files -d; return; fi
            _musicfs_words '-h --help -o --log-level --log-format' ;;
        login)
            case $prev in
                --config) _musicfs_files -f; return ;;
            esac
            _musicfs_words '-h --help --config' ;;
        mount)
            case $prev in
                --config) _musicfs_files -f; return ;;
                -o) compopt -o nospace 2>/dev/null; _musicfs_words 'api_url= media_url= cache_dir= state_dir= cache_size= keep_free= sizes= listing_ttl= forget_after= deadline= ca_file= proxy= allow_other= uid= gid= umask= xattrs= scanners= media_servers= media_budget= hints= token_file= token_command= log_level= log_format='; return ;;
                --log-level) _musicfs_words 'debug info warning error'; return ;;
                --log-format) _musicfs_words 'text json'; return ;;
            esac
            if [[ $cur != -* ]]; then _musicfs_files -d; return; fi
            _musicfs_words '-h --help --config --daemon -o --log-level --log-format' ;;
        umount)
            if [[ $cur != -* ]]; then _musicfs_files -d; return; fi
            _musicfs_words '-h --help' ;;
        status)
            if [[ $cur != -* ]]; then _musicfs_files -d; return; fi
            _musicfs_words '-h --help --json' ;;
        why)
            if [[ $cur != -* ]]; then _musicfs_files -f; return; fi
            _musicfs_words '-h --help --json' ;;
        warm)
            if [[ $cur != -* ]]; then _musicfs_files -f; return; fi
            _musicfs_words '-h --help --unpin' ;;
        cache)
            _musicfs_words '-h --help info verify prune' ;;
        'cache info')
            case $prev in
                --config) _musicfs_files -f; return ;;
            esac
            if [[ $cur != -* ]]; then _musicfs_files -d; return; fi
            _musicfs_words '-h --help --json --config' ;;
        'cache verify')
            case $prev in
                --config) _musicfs_files -f; return ;;
            esac
            if [[ $cur != -* ]]; then _musicfs_files -d; return; fi
            _musicfs_words '-h --help --json --config' ;;
        'cache prune')
            case $prev in
                --config) _musicfs_files -f; return ;;
                --older) :; return ;;
            esac
            if [[ $cur != -* ]]; then _musicfs_files -d; return; fi
            _musicfs_words '-h --help --json --config --older' ;;
        forget)
            if [[ $cur != -* ]]; then _musicfs_files -d; return; fi
            _musicfs_words '-h --help' ;;
        config)
            _musicfs_words '-h --help show' ;;
        'config show')
            case $prev in
                --config) _musicfs_files -f; return ;;
                -o) compopt -o nospace 2>/dev/null; _musicfs_words 'api_url= media_url= cache_dir= state_dir= cache_size= keep_free= sizes= listing_ttl= forget_after= deadline= ca_file= proxy= allow_other= uid= gid= umask= xattrs= scanners= media_servers= media_budget= hints= token_file= token_command= log_level= log_format='; return ;;
                --log-level) _musicfs_words 'debug info warning error'; return ;;
                --log-format) _musicfs_words 'text json'; return ;;
            esac
            _musicfs_words '-h --help --config --json -o --log-level --log-format' ;;
        doctor)
            case $prev in
                --config) _musicfs_files -f; return ;;
            esac
            _musicfs_words '-h --help --config --json --report' ;;
    esac
}
_musicfs_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}
_musicfs_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}
complete -F _musicfs musicfs
